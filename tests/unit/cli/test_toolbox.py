"""`orlop toolbox`: from what is asked for to the line of `docker run`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.cli import toolbox
from orlop.cli.arguments import parse_arguments

if TYPE_CHECKING:
    from orlop.cli.answers import Object


def target(pid: str, network: str, ipc: str) -> Object:
    host = {"PidMode": pid, "NetworkMode": network, "IpcMode": ipc}
    return {"Id": "abc", "State": {"Pid": 77, "Running": True}, "HostConfig": host}


def test_what_a_container_shares_is_shared() -> None:
    assert toolbox.joining(target("", "bridge", "private")) == (
        "--pid=container:abc",
        "--network=container:abc",
        "--env=TARGET=/proc/1/root",
    )
    assert toolbox.joining(target("host", "none", "shareable")) == (
        "--pid=host",
        "--network=none",
        "--ipc=container:abc",
        "--env=TARGET=/proc/77/root",
    )


def test_the_line() -> None:
    line = toolbox.docker_argv("busybox", ("--pid=host",), ["ls", "-l", "--"], terminal=False)
    assert line[:3] == ["run", "--rm", "--interactive"]
    assert "--tty" not in line
    assert line[-5:] == ["--entrypoint", "ls", "busybox", "-l", "--"]
    assert "--tty" in toolbox.docker_argv("busybox", (), [], terminal=True)


def test_what_follows_dashes_is_the_program() -> None:
    line = ["--host", "alpine", "--", "ls", "--", "-x"]
    found = parse_arguments(line, toolbox.OPTIONS, words=toolbox.WORDS, program=True)
    assert (found.words, found.program) == (["alpine"], ["ls", "--", "-x"])
    found = parse_arguments(["--", "ls"], toolbox.OPTIONS, words=toolbox.WORDS, program=True)
    assert (found.words, found.program) == ([], ["ls"])
