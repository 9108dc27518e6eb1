"""Dockerfiles as instructions: each of them, every error with its line, and no other way out."""

from __future__ import annotations

import random

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.dockerfile import model
from orlop.wire.dockerfile.dockerfile import parse_dockerfile
from orlop.wire.dockerfile.model import CommandLine, MountType, RunMount, RunNetwork
from orlop.wire.dockerfile.source import MAX_BYTES, Heredoc


def steps(body: str) -> list[model.Step]:
    """The steps of a stage with *body*."""
    return list(parse_dockerfile(f"FROM scratch\n{body}".encode()).stages[0].steps)


def one(line: str) -> model.Instruction:
    (step,) = steps(line)
    return step.instruction


def shell(line: str, *heredocs: Heredoc) -> CommandLine:
    return CommandLine((line,), True, heredocs)


def array(*words: str) -> CommandLine:
    return CommandLine(words, False)


HEALTH_LINE = (
    "HEALTHCHECK --interval=90s --timeout=5s --start-period=1s --start-interval=5ms "
    "--retries=3 CMD a"
)

INSTRUCTIONS: list[tuple[str, model.Instruction]] = [
    ("RUN echo hi", model.Run(command=shell("echo hi"))),
    ("run   echo hi  ", model.Run(command=shell("echo hi"))),
    ('RUN ["a", "b c"]', model.Run(command=array("a", "b c"))),
    ("RUN ['a']", model.Run(command=shell("['a']"))),
    ('RUN ["a" ] x', model.Run(command=shell('["a" ] x'))),
    ("RUN --network=none x", model.Run(command=shell("x"), network=RunNetwork.NONE)),
    ("RUN --security=sandbox x", model.Run(command=shell("x"))),
    (
        "RUN --mount=type=tmpfs,target=/t,size=1m --mount=type=cache,id=a,target=/c,ro x",
        model.Run(
            command=shell("x"),
            mounts=(
                RunMount(kind=MountType.TMPFS, target="/t", size="1m", read_only=False),
                RunMount(kind=MountType.CACHE, target="/c", id="a"),
            ),
        ),
    ),
    (
        'RUN --mount="target=/a b,source=s,from=base,rw" x',
        model.Run(
            command=shell("x"),
            mounts=(RunMount(target="/a b", source="s", from_="base", read_only=False),),
        ),
    ),
    ("CMD a b", model.Cmd(shell("a b"))),
    ('CMD ["a","b"]', model.Cmd(array("a", "b"))),
    ("CMD []", model.Cmd(CommandLine((), False))),
    ("CMD", model.Cmd(CommandLine((), True))),
    ('ENTRYPOINT ["a"]', model.Entrypoint(array("a"))),
    ("ENV a=b", model.Env((("a", "b"),))),
    ("ENV a b  c", model.Env((("a", "b  c"),))),
    ("ENV a='b c' d=\"e\" f=g\\ h", model.Env((("a", "'b c'"), ("d", '"e"'), ("f", "g\\ h")))),
    ("ENV a=b=c d=", model.Env((("a", "b=c"), ("d", "")))),
    ("LABEL x.y=z", model.Label((("x.y", "z"),))),
    ('LABEL "a b"="c d"', model.Label((('"a b"', '"c d"'),))),
    ("ARG a", model.Arg((("a", None),))),
    ("ARG a= b=c d", model.Arg((("a", ""), ("b", "c"), ("d", None)))),
    ("EXPOSE 80 53/udp", model.Expose(("53/udp", "80"))),
    ("COPY a b c/", model.Copy(keyword="COPY", sources=("a", "b"), destination="c/")),
    (
        'COPY --chown=u:g --chmod=755 ["a b", "c"]',
        model.Copy(keyword="COPY", sources=("a b",), destination="c", chown="u:g", chmod="755"),
    ),
    (
        "COPY --from=base --link --parents --exclude=*.o --exclude=x a b",
        model.Copy(
            keyword="COPY",
            sources=("a",),
            destination="b",
            from_="base",
            parents=True,
            exclude=("*.o", "x"),
        ),
    ),
    ("COPY -- --a b", model.Copy(keyword="COPY", sources=("--a",), destination="b")),
    (
        f"ADD --checksum=sha256:{'0' * 64} --unpack=false http://h/x /y",
        model.Copy(
            keyword="ADD",
            sources=("http://h/x",),
            destination="/y",
            checksum=f"sha256:{'0' * 64}",
            unpack=False,
        ),
    ),
    ("VOLUME /a /b", model.Volume(("/a", "/b"))),
    ('VOLUME ["/a b"]', model.Volume(("/a b",))),
    ("USER a:b", model.User("a:b")),
    ("WORKDIR /a b", model.Workdir("/a b")),
    ("ONBUILD RUN x", model.Onbuild("RUN x")),
    ("onbuild   copy a b", model.Onbuild("copy a b")),
    ("STOPSIGNAL SIGQUIT", model.StopSignal("SIGQUIT")),
    ("HEALTHCHECK NONE", model.Healthcheck(test=("NONE",))),
    (
        HEALTH_LINE,
        model.Healthcheck(
            test=("CMD-SHELL", "a"),
            interval_ns=90_000_000_000,
            timeout_ns=5_000_000_000,
            start_period_ns=1_000_000_000,
            start_interval_ns=5_000_000,
            retries=3,
        ),
    ),
    ('HEALTHCHECK cmd ["a"]', model.Healthcheck(test=("CMD", "a"))),
    ('SHELL ["a", "-c"]', model.Shell(("a", "-c"))),
    ("MAINTAINER Me <me@x>", model.Maintainer("Me <me@x>")),
]


@pytest.mark.parametrize(("line", "expected"), INSTRUCTIONS)
def test_each_instruction(line: str, expected: model.Instruction) -> None:
    assert one(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("FROM a", model.From(base="a")),
        ("FROM a AS B", model.From(base="a", name="b")),
        (
            "FROM --platform=linux/amd64 a as b-1.x_y",
            model.From(base="a", name="b-1.x_y", platform="linux/amd64"),
        ),
    ],
)
def test_from(line: str, expected: model.From) -> None:
    assert parse_dockerfile(line.encode()).stages[0].base == expected


ERRORS = [
    ("FRM a", "unknown instruction: FRM (did you mean FROM?)"),
    ("NONSENSE a", "unknown instruction: NONSENSE"),
    ("FROM", "FROM requires either one or three arguments"),
    ("FROM a b", "FROM requires either one or three arguments"),
    ("FROM a AS 1x", 'invalid name for build stage: "1x", name can\'t start with a number or'),
    ("FROM --x=y a", "unknown flag: --x"),
    ("RUN --network=some x", "invalid network mode some"),
    ("RUN --security=insecure x", "--security=insecure requires BuildKit"),
    ("RUN --security=odd x", 'security "odd" is not valid'),
    ("RUN --device=x y", "the --device option requires BuildKit"),
    ("RUN --mount=type=secret,id=a x", "--mount=type=secret requires BuildKit"),
    ("RUN --mount=type=ssh x", "--mount=type=ssh requires BuildKit"),
    ("RUN --mount=type=odd,target=/ x", 'unsupported mount type "odd"'),
    ("RUN --mount=type=tmpfs x", "target is required"),
    ("RUN --mount=source=a x", "target is required"),
    ("RUN --mount=type=tmpfs,target=/a,source=b x", "unexpected key 'source' for mount type"),
    ("RUN --mount=type=tmpfs,target=/a,ro x", "a tmpfs mount cannot be read-only"),
    ("RUN --mount=what=a x", "unexpected key 'what'"),
    ("RUN --mount=target x", "invalid field 'target' must be a key=value pair"),
    ("RUN --mount=target=/a,ro=maybe x", "invalid value for ro: maybe"),
    ("RUN --mount=type=cache,target=/a,sharing=x x", 'unsupported sharing value "x"'),
    ("RUN --mount='target=/a,\"b' x", "failed to parse csv mounts"),
    ("RUN --mount x", "missing a value on flag: mount"),
    ("RUN [1]", "when using JSON array syntax, arrays must be comprised of strings only"),
    ("RUN <<EOF\nx", "unterminated heredoc"),
    ("ENV", "ENV requires at least one argument"),
    ("ENV a", "ENV must have two arguments"),
    ("ENV a=b c", 'Syntax error - can\'t find = in "c". Must be of the form: name=value'),
    ("ENV =b", "ENV names can not be blank"),
    ("LABEL a", "LABEL must have two arguments"),
    ("ARG", "ARG requires at least one argument"),
    ("ARG =b", "ARG names can not be blank"),
    ("EXPOSE", "EXPOSE requires at least one argument"),
    ("COPY a", "COPY requires at least two arguments, but only one was provided. Destination"),
    ("ADD a", "ADD requires at least two arguments, but only one was provided. Destination"),
    ("COPY --link=maybe a b", "expecting boolean value for flag link, not: maybe"),
    ("COPY --from=a --from=b c d", "duplicate flag specified: from"),
    ("COPY --from= c d", "missing a value on flag: from"),
    ("COPY --checksum=x a b", "unknown flag: --checksum"),
    ("COPY a <<EOF\nEOF", "COPY cannot accept a heredoc as a destination"),
    ("ADD --checksum=md5:1 a b", "invalid checksum: md5:1"),
    ("ADD --keep-git-dir a b", "the --keep-git-dir option requires BuildKit"),
    ("ADD https://x/y.git#main /b", "ADD of a git repository requires BuildKit"),
    ("ADD git@x:y /b", "ADD of a git repository requires BuildKit"),
    ("VOLUME", "VOLUME requires at least one argument"),
    ('VOLUME [" "]', "VOLUME specified can not be an empty string"),
    ("USER", "USER requires exactly one argument"),
    ("WORKDIR", "WORKDIR requires exactly one argument"),
    ("STOPSIGNAL", "STOPSIGNAL requires exactly one argument"),
    ("MAINTAINER", "MAINTAINER requires exactly one argument"),
    ("ONBUILD", "ONBUILD requires at least one argument"),
    ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
    ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
    ("ONBUILD MAINTAINER x", "MAINTAINER isn't allowed as an ONBUILD trigger"),
    ("ONBUILD ODD x", "unknown instruction: ODD (did you mean ADD?)"),
    ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
    ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
    ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
    ("HEALTHCHECK ODD x", 'Unknown type "ODD" in HEALTHCHECK (try CMD)'),
    ("HEALTHCHECK --interval=x CMD a", 'time: invalid duration "x"'),
    ("HEALTHCHECK --interval=1us CMD a", 'Interval "interval" cannot be less than 1ms'),
    ("HEALTHCHECK --retries=-1 CMD a", "--retries cannot be negative (-1)"),
    ("HEALTHCHECK --retries=x CMD a", "invalid syntax"),
    ("HEALTHCHECK --retries=3000000000 CMD a", "value out of range"),
    ("SHELL a", 'SHELL requires the arguments to be in JSON form: "SHELL a"'),
    ("SHELL []", "SHELL requires at least one argument"),
    ("RUN " + "x" * 70_000, "dockerfile line greater than max allowed size of 65535"),
]


@pytest.mark.parametrize(("line", "message"), ERRORS)
def test_every_error_names_its_line(line: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        steps(f"# a comment\n\n{line}")
    assert str(caught.value).startswith("dockerfile parse error on line 4: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "file with no instructions"),
        (b"\n# only a comment\n", "file with no instructions"),
        (b"RUN x", "line 1: no build stage in current context"),
        (b"ARG a\nARG b", "no build stage in current context"),
        (b"FROM a\nRUN \xff", "line 2: the text is not UTF-8"),
        (b"# escape=x\nFROM a", "line 1: invalid escape token 'x' does not match ` or \\"),
        (b"# escape=`\n# escape=`\nFROM a", "line 2: only one escape parser directive can be"),
        (b"# syntax=some/frontend:1\nFROM a", "line 1: the frontend some/frontend:1 requires"),
        (b"FROM a AS x\nFROM b AS x", "line 2: x stage name already used"),
        (b"x" * (MAX_BYTES + 1), "is larger than"),
    ],
)
def test_errors_of_the_whole_file(data: bytes, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_dockerfile(data)
    assert message in str(caught.value)


def test_directives_end_with_the_first_other_line() -> None:
    known = b"#syntax = docker/dockerfile:1.7-labs\n# escape=`\n# check=skip=all\nFROM a\nRUN a`\nb"
    assert parse_dockerfile(known).escape == "`"
    for before in (b"\n", b"# a comment\n", b"# odd=x\n"):
        assert parse_dockerfile(before + b"# escape=`\nFROM a").escape == "\\"


@pytest.mark.parametrize(
    ("body", "command"),
    [
        ("RUN a \\\n b", "a  b"),
        ("RUN a \\  \n  # comment\nb", "a b"),
        ("RUN a \\\r\nb\r\n", "a b"),
        ("RUN a \\\n\n\nb", "a b"),
        ("RUN a \\\\\n", "a \\\\"),
        ("RUN a \\", "a"),
        ("   RUN # a", "# a"),
    ],
)
def test_lines_are_joined(body: str, command: str) -> None:
    assert one(body) == model.Run(command=shell(command))


def test_lines_are_counted_through_all_of_it() -> None:
    text = "RUN a \\\n# c\n\n b\nRUN <<E\nx\n\\\nE\n\nUSER u"
    assert [step.line for step in steps(text)] == [2, 6, 11]


def test_an_empty_line_in_a_continued_one_is_a_warning() -> None:
    parsed = parse_dockerfile(b"FROM a\nRUN a \\\n\n b")
    assert parsed.warnings == ("[WARNING]: Empty continuation line found in:\n    RUN a  b",)


@pytest.mark.parametrize(
    ("body", "command", "heredocs"),
    [
        ("RUN <<EOF\na\n  b\nEOF", "<<EOF", [Heredoc("EOF", "a\n  b\n")]),
        ("RUN <<-EOF\n\ta\n\tEOF", "<<-EOF", [Heredoc("EOF", "\ta\n", True, True)]),
        ("RUN <<'EOF' cat\n$a\nEOF", "<<'EOF' cat", [Heredoc("EOF", "$a\n", False)]),
        (
            "RUN 3<<A cat <<B\na\nA\nb\nB",
            "3<<A cat <<B",
            [Heredoc("A", "a\n"), Heredoc("B", "b\n")],
        ),
        ("RUN cat \\\n <<E\nx\nE", "cat  <<E", [Heredoc("E", "x\n")]),
        ("RUN cat <<<x", "cat <<<x", []),
        ("RUN echo '<<E'", "echo '<<E'", []),
        ("RUN echo $((1<<2))", "echo $((1<<2))", []),
        ("RUN echo it's <<E", "echo it's <<E", []),
        ("RUN <<E\nE", "<<E", [Heredoc("E", "")]),
        ("RUN <<E\r\na\r\nE\r\n", "<<E", [Heredoc("E", "a\r\n")]),
    ],
)
def test_heredocs_of_run(body: str, command: str, heredocs: list[Heredoc]) -> None:
    assert one(body) == model.Run(command=shell(command, *heredocs))


def test_heredocs_of_copy_and_onbuild() -> None:
    assert one("COPY <<A <<-B x /d/\n1\nA\n\t2\nB") == model.Copy(
        keyword="COPY",
        sources=("x",),
        heredocs=(Heredoc("A", "1\n"), Heredoc("B", "\t2\n", True, True)),
        destination="/d/",
    )
    assert one("ONBUILD RUN <<E\nx\nE") == model.Onbuild("RUN <<E\nx\nE")
    assert one('COPY ["<<A", "b"]') == model.Copy(keyword="COPY", sources=("<<A",), destination="b")
    assert Heredoc("B", "\t\ta\n\tb", chomp=True).text() == "a\nb"


def test_stages_and_global_arguments() -> None:
    parsed = parse_dockerfile(b"ARG V=1\nFROM a:$V AS x\nRUN a\nFROM x\nARG V\n")
    assert [step.instruction for step in parsed.arguments] == [model.Arg((("V", "1"),))]
    assert [(stage.line, stage.text, len(stage.steps)) for stage in parsed.stages] == [
        (2, "FROM a:$V AS x", 1),
        (4, "FROM x", 1),
    ]


WHOLE = b"""# syntax=docker/dockerfile:1
ARG A=1
FROM --platform=linux/amd64 busybox:${A:-x} AS base
ENV a="b c" d=$A
RUN --mount=type=cache,target=/c <<'EOF' sh && \\
  # comment
  true
hello
EOF
COPY --chown=1:2 ["a b", "c/"]
HEALTHCHECK --interval=5s CMD ["x"]
ONBUILD RUN echo \\\\
SHELL ["/bin/sh", "-c"]
"""


def test_a_file_cut_anywhere_is_parsed_or_refused() -> None:
    """Every prefix, and every prefix with a foreign byte: InvalidArgument is the only error."""
    for end in range(len(WHOLE) + 1):
        for data in (WHOLE[:end], WHOLE[:end] + b"\x00" + WHOLE[end:], WHOLE[end:]):
            try:
                parse_dockerfile(data)
            except InvalidArgument:
                continue


@pytest.mark.parametrize("seed", range(20))
def test_random_text_is_parsed_or_refused(seed: int) -> None:
    generator = random.Random(seed)
    pieces = [
        "FROM a", "RUN ", "COPY ", "ENV ", "ARG ", "ONBUILD ", "HEALTHCHECK ", "SHELL ", "LABEL ",
        "--mount=", "--", "<<E", "<<-'E'", "E\n", "\n", "\\\n", "\\", "'", '"', "[", "]", "{", "}",
        "$", "${", ":-", "=", ",", " ", "\t", "#", "# escape=`\n", "`", "a", "\u00e4", "\r\n",
        "type=", "cache", "target=", "[\"a\"]", "CMD ", "\x00",
    ]  # fmt: skip
    for _ in range(300):
        text = "".join(generator.choices(pieces, k=generator.randrange(1, 40)))
        try:
            parse_dockerfile(text.encode())
        except InvalidArgument:
            continue
