"""What instructions do to an image's configuration, ARG scopes, and commit's changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.dockerfile import image_config, model
from orlop.wire.dockerfile.arguments import Arguments, platform_arguments
from orlop.wire.dockerfile.changes import apply_changes
from orlop.wire.dockerfile.evaluate import expand
from orlop.wire.dockerfile.image_config import ImageConfig
from orlop.wire.dockerfile.instructions import parse_instruction
from orlop.wire.dockerfile.source import read_source

if TYPE_CHECKING:
    from orlop.wire.compose_model import Json


def run(config: ImageConfig, *lines: str) -> tuple[ImageConfig, str]:
    """Expand with the configuration's environment and apply; the last comment."""
    comment = ""
    for line in lines:
        (statement,) = read_source(line).statements
        instruction = expand(parse_instruction(statement), config.environment_map(), "\\")
        config, comment = image_config.apply(config, instruction)
    return config, comment


@pytest.mark.parametrize(
    ("line", "expected", "comment"),
    [
        ("ENV a=b c='d e'", {"Env": ["a=b", "c=d e"]}, "ENV a=b c=d e"),
        ("LABEL x=y", {"Labels": {"x": "y"}}, "LABEL x=y"),
        ("CMD a b", {"Cmd": ["/bin/sh", "-c", "a b"]}, 'CMD ["/bin/sh" "-c" "a b"]'),
        ('CMD ["a"]', {"Cmd": ["a"]}, 'CMD ["a"]'),
        ("CMD []", {"Cmd": []}, "CMD []"),
        ('ENTRYPOINT ["a"]', {"Entrypoint": ["a"]}, 'ENTRYPOINT ["a"]'),
        (
            "EXPOSE 80 53/UDP 8000-8001",
            {"ExposedPorts": {"53/udp": {}, "80/tcp": {}, "8000/tcp": {}, "8001/tcp": {}}},
            "EXPOSE 53/UDP 80 8000-8001",
        ),
        ("VOLUME /a /b", {"Volumes": {"/a": {}, "/b": {}}}, "VOLUME [/a /b]"),
        ("USER u:g", {"User": "u:g"}, "USER u:g"),
        ("WORKDIR a/../b/", {"WorkingDir": "/b"}, "WORKDIR /b"),
        ("WORKDIR //x", {"WorkingDir": "/x"}, "WORKDIR /x"),
        ("STOPSIGNAL SIGRTMIN+3", {"StopSignal": "SIGRTMIN+3"}, "STOPSIGNAL SIGRTMIN+3"),
        ("ONBUILD RUN x", {"OnBuild": ["RUN x"]}, "ONBUILD RUN x"),
        ('SHELL ["a", "-b"]', {"Shell": ["a", "-b"]}, "SHELL [a -b]"),
        ("ARG a b=c", {}, "ARG a b=c"),
        ("MAINTAINER me", {}, "MAINTAINER me"),
        (
            "HEALTHCHECK --retries=2 CMD x",
            {"Healthcheck": {"Test": ["CMD-SHELL", "x"], "Retries": 2}},
            'HEALTHCHECK {"Test": ["CMD-SHELL", "x"], "Retries": 2}',
        ),
    ],
)
def test_each_change(line: str, expected: dict[str, Json], comment: str) -> None:
    config, found = run(ImageConfig(), line)
    assert image_config.to_json(config) == expected
    assert found == comment
    assert image_config.from_json(image_config.to_json(config)) == config


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("EXPOSE x", "invalid containerPort: x"),
        ("EXPOSE 80/icmp", "invalid proto: icmp"),
        ("EXPOSE 70000", "invalid containerPort: 70000"),
        ("EXPOSE 9-8", "invalid containerPort: 9-8"),
        ("STOPSIGNAL SIGODD", "invalid signal: SIGODD"),
        ('WORKDIR ""', "cannot normalize nothing"),
    ],
)
def test_values_that_cannot_be(line: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        run(ImageConfig(), line)


def test_later_instructions_see_earlier_values() -> None:
    config, _ = run(
        ImageConfig(),
        "ENV a=1",
        "ENV a=2 b=$a",
        "LABEL $a=${b}",
        "WORKDIR /x$a",
        "WORKDIR y",
        "EXPOSE $a",
        'SHELL ["s"]',
        "CMD $a",
    )
    assert config.environment == (("a", "2"), ("b", "1"))
    assert config.labels == (("2", "1"),)
    assert config.working_dir == "/x2/y"
    assert config.exposed_ports == ("2/tcp",)
    assert config.command == ("s", "$a")


def test_an_entrypoint_drops_the_command_of_the_base() -> None:
    base = ImageConfig(command=("a",))
    entrypoint = model.Entrypoint(model.CommandLine(("e",), False))
    assert image_config.apply(base, entrypoint)[0].command is None
    assert image_config.apply(base, entrypoint, command_is_set=True)[0].command == ("a",)


def test_unknown_fields_are_kept_and_wrong_ones_dropped() -> None:
    config = image_config.from_json({"Hostname": "h", "User": 3, "Env": "x", "Labels": None})
    assert image_config.to_json(config) == {"Hostname": "h"}


def test_literal_labels_are_not_expanded() -> None:
    label = model.Label((("a", "$b"),), literal=True)
    assert expand(label, {"b": "x"}, "\\") == label


def test_every_field_of_copy_and_run_is_expanded() -> None:
    (statement,) = read_source(
        "COPY --chown=$a --exclude=$a $a <<E <<'F' /$a\n$a \"\\$\"\nE\n$a\nF"
    ).statements
    copy = expand(parse_instruction(statement), {"a": "1"}, "\\")
    assert isinstance(copy, model.Copy)
    assert (copy.chown, copy.exclude, copy.sources, copy.destination) == ("1", ("1",), ("1",), "/1")
    assert [heredoc.content for heredoc in copy.heredocs] == ['1 "$"\n', "$a\n"]
    (statement,) = read_source("RUN --mount=type=cache,target=/$a,id=$a echo $a").statements
    command = expand(parse_instruction(statement), {"a": "1"}, "\\")
    assert isinstance(command, model.Run)
    assert (command.mounts[0].target, command.mounts[0].id) == ("/1", "1")
    assert command.command.words == ("echo $a",)


def test_argument_scopes() -> None:
    arguments = Arguments(
        {"given": "option", "http_proxy": "p", "odd": "x", "none": None},
        platform_arguments("linux/amd64", "linux/arm/v7"),
    )
    arguments.declare_global("version", "1")
    arguments.declare_global("given", "default")
    arguments.declare_global("none", None)
    assert arguments.global_values()["version"] == "1"
    assert arguments.global_values()["given"] == "option"
    assert arguments.global_values()["TARGETVARIANT"] == "v7"
    arguments.begin_stage()
    assert arguments.values() == {"http_proxy": "p"}
    arguments.declare("version", None)
    arguments.declare("given", "stage")
    arguments.declare("TARGETARCH", None)
    arguments.declare("none", None)
    arguments.declare("own", "o")
    assert arguments.values() == {
        "http_proxy": "p",
        "version": "1",
        "given": "option",
        "TARGETARCH": "arm",
        "own": "o",
    }
    assert arguments.for_command({"own": "environment"}) == {
        "http_proxy": "p",
        "version": "1",
        "given": "option",
        "TARGETARCH": "arm",
    }
    assert "http_proxy" not in arguments.for_history({})
    arguments.declare("version", "2")
    assert arguments.values()["version"] == "2"
    arguments.begin_stage()
    assert "version" not in arguments.values()
    arguments.declare("http_proxy", None)
    assert arguments.for_history({}) == {"http_proxy": "p"}
    assert arguments.unused() == ["odd"]


def test_arguments_that_double_end_somewhere() -> None:
    arguments = Arguments({}, {})
    for number in range(21):
        arguments.declare(f"a{number}", "x" * 2**number)
    with pytest.raises(InvalidArgument, match="the build arguments have more than"):
        arguments.declare("last", "x" * 2**22)


def test_changes_of_commit() -> None:
    config = apply_changes(
        ImageConfig(environment=(("a", "1"),)), ["ENV b=$a", "CMD x", 'ENTRYPOINT ["e"]']
    )
    assert config.environment == (("a", "1"), ("b", "1"))
    assert config.command == ("/bin/sh", "-c", "x")
    assert config.entrypoint == ("e",)
    assert apply_changes(config, []) == config
    assert apply_changes(config, ["STOPSIGNAL INT"]).stop_signal == "INT"


@pytest.mark.parametrize("change", ["RUN x", "FROM x", "COPY a b", "ODD", "ARG a"])
def test_what_commit_cannot_change(change: str) -> None:
    with pytest.raises(InvalidArgument, match="is not a valid change command"):
        apply_changes(ImageConfig(), [change])
