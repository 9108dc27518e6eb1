"""The `orlop` command, and a docker client elsewhere, against the real PID 1."""

from __future__ import annotations

import json
import os
import pty
import shutil
import stat
import subprocess
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.native_machine import NativeMachine

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.engine]

SOURCE = Path(__file__).parents[2] / "src"
TALK = "trap 'exit 0' TERM; echo out-line; echo err-line >&2; while :; do sleep 1; done"
LIMIT_S = 60

# What stands between a laptop's docker client and this machine: a program called ssh which runs
# the last words of its command line here.
FAKE_SSH = """\
#!/bin/sh
while [ "$1" != -- ]; do shift; done
shift 2
exec {python} -c '{start}' "$@"
"""
START = (
    "import os, sys; sys.path.insert(0, {source!r}); from orlop.cli import client, main;"
    " client.SOCKET_PATH = {socket!r}; os.environ['DOCKER_HOST'] = 'unix://' + {socket!r};"
    " sys.exit(main.main(sys.argv[1:]))"
)


@pytest.fixture(scope="module")
def machine() -> Iterator[NativeMachine]:
    services: dict[str, dict[str, Any]] = {
        "talker": {"command": ["/bin/sh", "-c", TALK], "restart": "always"},
        "unwanted": {
            "command": ["/bin/true"],
            "x-orlop": {"condition": {"configured": "hostname"}},
        },
    }
    with NativeMachine(services) as running:
        running.wait_ready()
        yield running


def orlop(
    machine: NativeMachine, *words: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run the command as a process of its own, on this machine's socket."""
    socket = str(machine.path("/run/orlop/system.sock"))
    start = START.format(source=str(SOURCE), socket=socket)
    return subprocess.run(
        [sys.executable, "-I", "-c", start, *words],
        input=stdin,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )


def succeed(machine: NativeMachine, *words: str, stdin: bytes = b"") -> str:
    done = orlop(machine, *words, stdin=stdin)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_ps_and_service_show_what_runs(machine: NativeMachine) -> None:
    header, line = succeed(machine, "ps").splitlines()
    assert header.split()[:2] == ["NAME", "STATUS"]
    assert line.startswith("talker   Up ")
    listed = succeed(machine, "service", "ls").splitlines()
    assert [row.split()[:2] for row in listed[1:]] == [
        ["talker", "running"],
        ["unwanted", "skipped"],
    ]
    assert "unwanted is skipped: " in succeed(machine, "service", "why", "unwanted")


@pytest.mark.parametrize(
    "command",
    ["status", "ps -a", "service ls", "boot", "version", "stats", "top", "config show", "dmesg"],
)
def test_json_is_json(machine: NativeMachine, command: str) -> None:
    assert json.loads(succeed(machine, *command.split(), "--json")) is not None


@pytest.mark.parametrize("command", ["status", "status --motd", "boot", "version", "stats"])
def test_texts_are_texts(machine: NativeMachine, command: str) -> None:
    text = succeed(machine, *command.split())
    assert len(text.splitlines()) > 1
    assert all(len(line) <= 120 for line in text.splitlines())


def test_logs_keep_the_outputs_apart(machine: NativeMachine) -> None:
    done = orlop(machine, "logs", "talker")
    assert (done.stdout, done.stderr) == (b"out-line\n", b"err-line\n")
    assert succeed(machine, "logs", "--tail", "0", "talker") == ""


def test_exec_is_a_pipe_with_a_status(machine: NativeMachine) -> None:
    data = b"x" * 300_000
    assert succeed(machine, "exec", "-i", "talker", "cat", stdin=data).encode() == data
    done = orlop(machine, "exec", "talker", "sh", "-c", "echo no >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"", b"no\n")


def test_exec_of_nothing_has_dockers_statuses(machine: NativeMachine) -> None:
    assert orlop(machine, "exec", "talker", "/no/such").returncode == 127
    assert orlop(machine, "exec", "talker", "/etc/passwd").returncode == 126
    assert orlop(machine, "exec", "nobody", "true").returncode == 1


def test_inspect(machine: NativeMachine) -> None:
    (found,) = json.loads(succeed(machine, "inspect", "talker"))
    assert found["Name"] == "/talker"
    assert found["State"]["Running"] is True


def test_a_service_is_stopped_and_started(machine: NativeMachine) -> None:
    succeed(machine, "service", "stop", "talker")
    assert "talker is stopped" in succeed(machine, "service", "why", "talker")
    succeed(machine, "service", "start", "talker")
    assert succeed(machine, "ps", "-q") == "talker\n"


def test_what_is_not_there_fails_with_a_sentence(machine: NativeMachine) -> None:
    done = orlop(machine, "logs", "nobody")
    assert done.returncode == 1
    assert done.stderr.startswith(b"orlop: ")
    assert b"nobody" in done.stderr


def test_docker_over_ssh(machine: NativeMachine, tmp_path: Path) -> None:
    """`docker -H ssh://` with the real client: one connection for each request, half-closed."""
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed")
    socket = str(machine.path("/run/orlop/system.sock"))
    ssh = tmp_path / "ssh"
    start = START.format(source=str(SOURCE), socket=socket).replace("'", '"')
    ssh.write_text(FAKE_SSH.format(python=sys.executable, start=start))
    ssh.chmod(stat.S_IRWXU)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}

    def docker(*words: str, stdin: bytes = b"") -> bytes:
        done = subprocess.run(
            ["docker", "-H", "ssh://root@machine", *words],
            env=environment,
            input=stdin,
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    assert docker("ps", "--format", "{{.Names}}") == b"talker\n"
    assert docker("logs", "talker").startswith(b"out-line\n")
    assert docker("exec", "-i", "talker", "cat", stdin=b"through") == b"through"
    assert docker("inspect", "-f", "{{.State.Status}}", "talker") == b"running\n"


def test_exec_gives_a_terminal_of_the_right_size(machine: NativeMachine) -> None:
    socket = str(machine.path("/run/orlop/system.sock"))
    start = START.format(source=str(SOURCE), socket=socket)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (33, 101))
    before = termios.tcgetattr(theirs)
    script = "test -t 0 && echo terminal; /bin/busybox stty size; exit 5"
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", start, "exec", "-it", "talker", "sh", "-c", script],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    assert process.wait(LIMIT_S) == 5
    shown = os.read(ours, 65536)
    assert shown.split() == [b"terminal", b"33", b"101"]
    assert termios.tcgetattr(theirs) == before, "the terminal is as it was"
    os.close(ours)
    os.close(theirs)
