"""`./orlop run` from outside: start, look, get in, leave, stop."""

import contextlib
import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orlop.lib.process import environment
from tests.vm.lab import Lab

NAME = "command"
TIMEOUT_S = 240


class Command:
    """`./orlop run` with a cache of its own, without the launcher around it."""

    def __init__(self, lab: Lab) -> None:
        self.cache = lab.scratch / "cache"
        self.cache.mkdir()
        # What the accelerator's probe found out holds for every cache.
        for remembered in lab.scratch.glob("accelerator.json"):
            (self.cache / remembered.name).write_bytes(remembered.read_bytes())
        self.environment = environment(
            {
                "ORLOP_CACHE": str(self.cache),
                "ORLOP_CHECKOUT": str(lab.checkout),
                "PYTHONPATH": str(Path(__file__).parents[2] / "src"),
            }
        )

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "orlop", "host", "run", *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*words),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def succeed(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def command(lab: Lab) -> Iterator[Command]:
    made = Command(lab)
    yield made
    made.run("stop", "--all", "--force")


@pytest.fixture(scope="module")
def summary(command: Command) -> str:
    """What `./orlop run --detach` prints; the machine runs for the tests of this module."""
    return command.succeed(
        "--detach", "--name", NAME, "--state", "kept=64m", "--append", "orlop.debug"
    )


def test_summary_says_how_long_it_took_and_how_to_get_in(summary: str) -> None:
    for word in ("is ready", "kernel", "services", "ssh -i", "DOCKER_HOST=unix://", "orlop ps"):
        assert word in summary


@pytest.mark.usefixtures("summary")
def test_ls(command: Command) -> None:
    [row] = json.loads(command.succeed("ls", "--json"))
    assert (row["name"], row["state"]) == (NAME, "ready")
    assert NAME in command.succeed("ls")


@pytest.mark.usefixtures("summary")
def test_exec_and_its_status(command: Command) -> None:
    assert command.succeed("exec", NAME, "--", "echo", "hello") == "hello\n"
    assert command.run("exec", "--", "sh", "-c", "exit 3").returncode == 3


@pytest.mark.usefixtures("summary")
def test_ssh(command: Command) -> None:
    assert "console" in command.succeed("ssh", NAME, "orlop", "ps")


@pytest.mark.usefixtures("summary")
def test_docker_through_the_tunnel(command: Command) -> None:
    """The user's engine has nothing yet; that of the system, beside it, has the services."""
    [row] = json.loads(command.succeed("ls", "--json"))
    users = str(row["docker_host"])
    system = users.replace("docker.sock", "system.sock")
    for host, expected in ((users, set()), (system, {"time", "engine"})):
        listed = subprocess.run(
            ["docker", "ps", "--all", "--format", "{{.Names}}"],
            env=environment({"DOCKER_HOST": host}),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        names = set(listed.stdout.split())
        assert names >= expected
        assert bool(names) == bool(expected)


@pytest.mark.usefixtures("summary")
def test_logs_and_screenshot(command: Command, tmp_path: Path) -> None:
    assert "ready" in command.succeed("logs", "--boot")
    assert command.succeed("logs")
    picture = tmp_path / "screen.png"
    command.succeed("screenshot", str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("summary")
def test_state_disk_is_in_use(command: Command) -> None:
    status = json.loads(command.succeed("exec", "--", "orlop", "status", "--json"))
    assert status["storage"]["kind"] == "disk"
    assert status["hostname"] == NAME


@pytest.mark.usefixtures("summary")
def test_a_name_is_used_once(command: Command) -> None:
    done = command.run("--detach", "--name", NAME)
    assert done.returncode == 1
    assert "running already" in done.stderr


@pytest.mark.usefixtures("summary")
def test_console_on_a_terminal_is_left_again(command: Command) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        words = command.argv("console", NAME)
        os.execve(words[0], words, command.environment)
    try:
        os.write(terminal, b"\r")
        read_until(terminal, b"leaves the console")
        wait_for_prompt(terminal)
        os.write(terminal, b"echo mark$((40+2))\r")
        read_until(terminal, b"mark42")
        os.write(terminal, b"\x1dd")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        os.close(terminal)
    [row] = json.loads(command.succeed("ls", "--json"))
    assert row["state"] == "ready"


@pytest.mark.usefixtures("summary")
def test_stop(command: Command) -> None:
    """Comes last: the machine is gone after it."""
    assert f"{NAME}: off" in command.succeed("stop", NAME)
    [row] = json.loads(command.succeed("ls", "--json"))
    assert row["state"] == "off"


def wait_for_prompt(terminal: int, attempts: int = 20) -> None:
    """Press Enter until the shell answers: what is typed before it is there is not kept."""
    for _ in range(attempts):
        os.write(terminal, b"\r")
        with contextlib.suppress(AssertionError):
            read_until(terminal, b"# ", timeout_s=3.0)
            return
    raise AssertionError("no prompt")


def read_until(terminal: int, text: bytes, timeout_s: float = 60.0) -> None:
    deadline, seen = time.monotonic() + timeout_s, b""
    while text not in seen:
        ready, _, _ = select.select([terminal], [], [], max(deadline - time.monotonic(), 0))
        assert ready, f"no {text!r} in {seen!r}"
        seen += os.read(terminal, 1 << 14)
