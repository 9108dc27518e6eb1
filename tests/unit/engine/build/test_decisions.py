"""What a build decides before it does anything: options, plan, commands, cache, output."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from orlop.engine.build import step_images
from orlop.engine.build.cache import BuildCache, cache_key
from orlop.engine.build.cache_mounts import CacheMounts
from orlop.engine.build.commands import plan_command
from orlop.engine.build.commit import remove_mount_points
from orlop.engine.build.credentials import credentials_for
from orlop.engine.build.downloads import file_name, is_git, is_url
from orlop.engine.build.options import parse_options
from orlop.engine.build.output import Output
from orlop.engine.build.plan import find_stage, plan_build
from orlop.lib.errors import InvalidArgument
from orlop.wire.dockerfile.arguments import Arguments, platform_arguments
from orlop.wire.dockerfile.dockerfile import parse_dockerfile
from orlop.wire.dockerfile.image_config import ImageConfig
from orlop.wire.dockerfile.model import CommandLine
from orlop.wire.dockerfile.source import Heredoc
from orlop.wire.stdcopy import Stream

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.engine.build.plan import BuildPlan


def test_options() -> None:
    options = parse_options(
        {
            "t": ["a", "b:1", "a"],
            "buildargs": ['{"x": "1", "y": null}'],
            "labels": ['{"b": "2", "a": "1"}'],
            "memory": ["1048576"],
            "cpuquota": ["5"],
            "cpusetcpus": ["0"],
            "extrahosts": ["a:1,b:2", "c:3"],
            "ulimits": ['[{"Name": "nofile", "Soft": 1, "Hard": 2}]'],
            "rm": ["0"],
            "q": ["1"],
            "networkmode": ["none"],
        }
    )
    assert [reference.familiar for reference in options.references] == ["a:latest", "b:1"]
    assert options.arguments == {"x": "1", "y": None}
    assert options.labels == (("a", "1"), ("b", "2"))
    assert options.host_config == {
        "Memory": 1048576,
        "CpuQuota": 5,
        "CpusetCpus": "0",
        "ExtraHosts": ["a:1", "b:2", "c:3"],
        "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}],
    }
    assert (options.remove, options.quiet, options.network) == (False, True, "none")
    plain = parse_options({})
    assert (plain.dockerfile, plain.remove, plain.network) == ("Dockerfile", True, "default")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"version": "2"}, "DOCKER_BUILDKIT=0"),
        ({"squash": "1"}, "squash is only supported with experimental mode"),
        ({"outputs": '[{"Type": "local"}]'}, "custom outputs require BuildKit"),
        ({"isolation": "hyperv"}, "Unsupported isolation: hyperv"),
        ({"t": "A"}, "invalid reference format"),
        ({"t": "a@sha256:" + "0" * 64}, "build tag cannot contain a digest"),
        ({"buildargs": "["}, "error reading buildargs"),
        ({"buildargs": "[]"}, "error reading buildargs: an object expected"),
        ({"labels": '{"a": 1}'}, "error reading labels: strings expected"),
        ({"memory": "much"}, "memory: 'much' is not a number"),
        ({"ulimits": "[1"}, "error reading ulimits"),
    ],
)
def test_options_that_cannot_be(query: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_options({key: [value] for key, value in query.items()})
    assert message in str(caught.value)


def plan(text: str, target: str = "", **given: str) -> BuildPlan:
    arguments = Arguments(given, platform_arguments("linux/amd64", "linux/amd64"))
    return plan_build(parse_dockerfile(text.encode()), arguments, target=target)


STAGES = """ARG V=1
FROM a:$V AS one
RUN x
FROM b AS two
FROM one AS three
COPY --from=two x y
FROM c AS four
RUN --mount=from=three,target=/x y
FROM scratch AS five
"""


@pytest.mark.parametrize(
    ("target", "indexes", "steps"),
    [
        ("", [4], 2),
        ("one", [0], 3),
        ("THREE", [0, 1, 2], 6),
        ("four", [0, 1, 2, 3], 8),
        ("1", [1], 2),
    ],
)
def test_only_needed_stages_are_planned(target: str, indexes: list[int], steps: int) -> None:
    planned = plan(STAGES, target)
    assert [stage.index for stage in planned.stages] == indexes
    assert planned.step_count == steps


def test_bases_see_global_arguments() -> None:
    text = "ARG V=1\nARG W=$V-x\nFROM --platform=$BUILDPLATFORM a:${W} AS s\nFROM s\nFROM ${V}\n"
    assert plan(text, "s").stages[0].base == "a:1-x"
    assert plan(text, "s").stages[0].platform == "linux/amd64"
    assert plan(text, "s", V="2").stages[0].base == "a:2-x"
    assert [stage.base for stage in plan(text, "1").stages] == ["a:1-x", 0]
    assert plan(text, "2").stages[-1].base == "1"


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("FROM a", "b", 'target stage "b" could not be found'),
        ("FROM a", "9", 'target stage "9" could not be found'),
        ("FROM $no", "", "line 1: base name ($no) should not be blank"),
        ("ARG a=${b\nFROM a", "", "line 1: failed to process"),
        ("FROM a AS x\nCOPY --from=x a b", "", "line 2: invalid from flag value x: refers to"),
        ("FROM a\nCOPY --from=3 a b", "", "line 2: invalid from flag value 3: index out of bounds"),
    ],
)
def test_plans_that_cannot_be(text: str, target: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        plan(text, target)
    assert message in str(caught.value)


def test_a_later_stage_of_that_name_is_an_image() -> None:
    assert find_stage("later", {"later": 2}, 1) is None
    assert find_stage("image:1", {}, 1) is None
    assert find_stage("EARLY", {"early": 0}, 1) == 0


def test_labels_of_the_request_come_last() -> None:
    arguments = Arguments({}, {})
    dockerfile = parse_dockerfile(b"FROM a\nLABEL x=1\n")
    planned = plan_build(dockerfile, arguments, labels=(("x", "$2"),))
    assert planned.stages[0].stage.steps[-1].text == "LABEL x=$2"
    assert planned.step_count == 3


@pytest.mark.parametrize(
    ("line", "heredocs", "words", "script"),
    [
        ("a b", (), ("/bin/sh", "-c", "a b"), ""),
        ("<<E", (Heredoc("E", "x\n"),), ("/bin/sh", "-c", "x\n"), ""),
        ("<<-E", (Heredoc("E", "\tx\n", chomp=True),), ("/bin/sh", "-c", "x\n"), ""),
        ("<<E", (Heredoc("E", "#!/x\ny\n"),), ("/dev/pipes/E",), "#!/x\ny\n"),
        ("cat <<E", (Heredoc("E", "x\n"),), ("/bin/sh", "-c", "cat <<E\nx\nE"), ""),
        (
            "<<A b <<B",
            (Heredoc("A", "1\n"), Heredoc("B", "2\n")),
            ("/bin/sh", "-c", "<<A b <<B\n1\nA\n2\nB"),
            "",
        ),
    ],
)
def test_commands(
    line: str, heredocs: tuple[Heredoc, ...], words: tuple[str, ...], script: str
) -> None:
    command = plan_command(ImageConfig(), CommandLine((line,), True, heredocs))
    assert (command.words, command.script) == (words, script)


def test_commands_in_an_array_need_no_shell() -> None:
    config = ImageConfig(shell=("s",))
    assert plan_command(config, CommandLine(("a", "b"), False)).words == ("a", "b")
    assert plan_command(config, CommandLine(("a",), True)).words == ("s", "a")


def test_the_cache_is_on_disk(tmp_path: Path) -> None:
    key = cache_key("parent", ["x", {"b": 1, "a": 2}])
    assert key == cache_key("parent", ["x", {"a": 2, "b": 1}])
    assert key != cache_key("other", ["x", {"a": 2, "b": 1}])
    cache = BuildCache(tmp_path / "cache")
    cache.add(key, "image", "parent", "text")
    again = BuildCache(tmp_path / "cache")
    assert again.find(key, lambda image_id: image_id == "image") == "image"
    assert again.entries()[key].uses == 1
    assert again.find(key, lambda image_id: False) is None
    assert BuildCache(tmp_path / "cache").entries() == {}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 9}', "[" * 5000])
def test_a_damaged_entry_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "key.json").write_text(content)
    assert BuildCache(tmp_path).entries() == {}


def test_cache_mounts(tmp_path: Path) -> None:
    mounts = CacheMounts(tmp_path)
    with mounts.private("a") as first, mounts.private("a") as second:
        assert (first, second) == ("a", "a-2")
        assert mounts.is_used("a-2")
    assert not mounts.is_used("a")

    async def locked() -> list[int]:
        seen: list[int] = []

        async def one(number: int) -> None:
            async with mounts.lock("x"):
                seen.append(number)
                await asyncio.sleep(0)
                seen.append(number)

        await asyncio.gather(one(1), one(2))
        return seen

    assert asyncio.run(locked()) == [1, 1, 2, 2]


class _Sink:
    def __init__(self) -> None:
        self.data = b""

    async def write(self, data: bytes) -> None:
        self.data += data

    def messages(self) -> list[Any]:
        return [json.loads(line) for line in self.data.split(b"\r\n") if line]


def test_output() -> None:
    sink = _Sink()

    async def say() -> None:
        output = Output(sink, quiet=False)
        await output.text("Step\n")
        await output.produced(Stream.STDOUT, "ä".encode()[:1])
        await output.produced(Stream.STDOUT, "ä".encode()[1:])
        await output.produced(Stream.STDERR, b"e\n")
        await output.aux("sha256:1")
        await output.error("bad", 3)

    asyncio.run(say())
    assert sink.messages() == [
        {"stream": "Step\n"},
        {"stream": "ä"},
        {"stream": "\x1b[91me\n\x1b[0m"},
        {"aux": {"ID": "sha256:1"}},
        {"errorDetail": {"code": 3, "message": "bad"}, "error": "bad"},
    ]


def test_quiet_output_speaks_when_it_fails() -> None:
    good, bad = _Sink(), _Sink()

    async def say() -> None:
        output = Output(good, quiet=True)
        await output.text("Step\n")
        await output.result("sha256:1")
        output = Output(bad, quiet=True)
        await output.text("x" * 3_000_000)
        await output.text("Step\n")
        await output.error("bad")

    asyncio.run(say())
    assert good.messages() == [{"stream": "sha256:1\n"}]
    assert len(bad.data) < 2_000_000
    assert bad.messages()[-2:] == [
        {"stream": "Step\n"},
        {"errorDetail": {"message": "bad"}, "error": "bad"},
    ]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://h/a/b.tar", "b.tar"),
        ("http://h/a%20b?x=y", "a b"),
        ("http://h/", ""),
        ("http://h", ""),
        ("http://h/..", ""),
    ],
)
def test_names_of_downloads(url: str, name: str) -> None:
    assert is_url(url)
    assert file_name(url) == name


@pytest.mark.parametrize(
    ("remote", "repository"),
    [
        ("git://host/x", True),
        ("git@host:x", True),
        ("github.com/a/b", True),
        ("https://host/x.git", True),
        ("https://host/x.git#main:sub", True),
        ("https://host/x.tar", False),
        ("http://host/Dockerfile#x.git", False),
    ],
)
def test_repositories_are_no_downloads(remote: str, repository: bool) -> None:
    assert is_git(remote) is repository


def test_documents() -> None:
    state = step_images.scratch("amd64", "linux", "")
    document = step_images.make_document(state, ImageConfig(user="u"), "made", "sha256:1", 10**18)
    assert document["rootfs"] == {"type": "layers", "diff_ids": ["sha256:1"]}
    assert document["history"][-1] == {
        "created": "2001-09-09T01:46:40.000000000Z",
        "created_by": "made",
    }
    assert document["config"] == {"User": "u"}
    state.author = "me"
    document = step_images.make_document(state, ImageConfig(), "made", None, 10**18)
    assert document["author"] == "me"
    assert document["history"][-1]["empty_layer"] is True


def test_mount_points_are_no_change(tmp_path: Path) -> None:
    import os

    upper, below = tmp_path / "upper", tmp_path / "below"
    for path in ("etc", "made/by/mount", "root/.cache/x", "kept/mount"):
        (upper / path).mkdir(parents=True)
    for path in ("etc", "root"):
        (below / path).mkdir(parents=True)
    (upper / "etc/hosts").write_text("")
    (upper / "kept/own").write_text("")
    (upper / "full").write_text("x")
    (below / "root").chmod(0o700)
    descriptor = os.open(upper, os.O_RDONLY)
    targets = ["/etc/hosts", "/made/by/mount", "/root/.cache/x", "/kept/mount", "/full", "/none"]
    remove_mount_points(descriptor, below, targets)
    os.close(descriptor)
    left = sorted(str(path.relative_to(upper)) for path in upper.rglob("*"))
    assert left == ["full", "kept", "kept/own", "root"]


def test_credentials() -> None:
    import base64

    data = {
        "https://index.docker.io/v1/": {"username": "hub", "password": "p"},
        "localhost:5000": {"username": "local", "password": "p"},
        "odd": 3,
    }
    header = base64.urlsafe_b64encode(json.dumps(data).encode()).decode()
    assert credentials_for(header, "docker.io").username == "hub"
    assert credentials_for(header, "localhost:5000").username == "local"
    for text, domain in (("", "x"), ("%%", "x"), (header, "other"), (header, "odd")):
        assert credentials_for(text, domain).username == ""


def test_a_layer_that_is_there_twice_is_mounted_once(tmp_path: Path) -> None:
    from orlop.engine.store.directory import StoreDirectory
    from orlop.engine.store.mounts import LayerMounts

    mounts = LayerMounts(tmp_path, StoreDirectory(tmp_path / "store"))
    one, two = (f"sha256:{digit * 64}" for digit in "12")
    assert [path.name[0] for path in mounts.lower([one, two, one])] == ["1", "2"]
    assert [path.name[0] for path in mounts.lower([one, one, two])] == ["2", "1"]
