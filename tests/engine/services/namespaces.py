"""Network namespaces for tests, each held by a sleeping process: nothing is left when it ends."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TIMEOUT_S = 60.0


class NetworkNamespace:
    """One network namespace; *process_id* is in it."""

    def __init__(self, process_id: int) -> None:
        self.process_id = process_id

    def command(self, *argv: str) -> list[str]:
        """*argv* as it is run inside."""
        return ["nsenter", f"--net=/proc/{self.process_id}/ns/net", *argv]

    def run(self, *argv: str) -> str:
        done = subprocess.run(self.command(*argv), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout


@contextmanager
def network_namespace() -> Iterator[NetworkNamespace]:
    """A namespace with its loopback up."""
    holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    try:
        own = os.readlink("/proc/self/ns/net")
        wait_until(lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != own)
        namespace = NetworkNamespace(holder.pid)
        namespace.run("ip", "link", "set", "lo", "up")
        yield namespace
    finally:
        holder.kill()
        holder.wait()


def cable(first: NetworkNamespace, name: str, second: NetworkNamespace, other: str) -> None:
    """Connect two namespaces: interface *name* here, *other* there, both down."""
    first.run(
        *("ip", "link", "add", name, "type", "veth"),
        *("peer", "name", other, "netns", str(second.process_id)),
    )


@contextmanager
def running(argv: list[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """*argv* as a process with its output in *log*; ended by SIGTERM, or else SIGKILL."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            argv, stdout=stream, stderr=stream, env={**os.environ, **environment}
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(condition: Callable[[], bool], what: str = "condition") -> None:
    """Wait for *condition*, looking often; fails after TIMEOUT_S."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s, f"{what} did not come about"
        time.sleep(0.02)
