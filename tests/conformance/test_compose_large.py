"""Docker Compose's other commands and keys, on an application that uses most of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conformance.clients import Clients

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.conformance]

DIRECTORY = Path(__file__).with_name("large")


class Compose:
    """`docker-compose` on the application of `large`."""

    def __init__(self, clients: Clients) -> None:
        self.clients = clients
        file = DIRECTORY / "compose.yaml"
        self.argv = ("docker-compose", f"--file={file}", "--ansi=never", "--profile=tools")

    def __call__(self, *words: str, stdin: str = "") -> str:
        return self.clients.ok(*self.argv, *words, stdin=stdin)

    def status(self, *words: str) -> int:
        return self.clients.run(*self.argv, *words).returncode

    def listed(self, *services: str) -> dict[str, dict[str, Any]]:
        lines = self("ps", "--all", "--format=json", *services).splitlines()
        return {value["Name"]: value for value in map(json.loads, lines)}


@pytest.fixture(scope="module")
def compose(clients: Clients) -> Iterator[Compose]:
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is not installed")
    clients.docker("network", "create", "large-outside")
    found = Compose(clients)
    clients.environment["PASSED"] = "on"
    try:
        found("build", "--build-arg=COLOUR=green")
        found("up", "--detach", "--scale=tool=0")
        yield found
    finally:
        found("down", "--volumes", "--rmi=local", "--timeout=1", "--remove-orphans")
        clients.docker("network", "rm", "large-outside")
        del clients.environment["PASSED"]
    # One that the file names is not taken away by `--rmi local`.
    clients.docker("rmi", "large-web")
    assert clients.docker("ps", "--all", "--quiet") == ""
    assert "large" not in clients.docker("volume", "ls") + clients.docker("images")


def test_conditions_files_and_limits(compose: Compose) -> None:
    found = compose.listed()
    assert found["large-database-1"]["Health"] == "healthy"
    assert found["large-migration-1"]["ExitCode"] == 0
    inside = ("exec", "-T", "database")
    assert compose(*inside, "cat", "/run/secrets/password", "/etc/app.conf") == (
        "correct-horse\nanswer = 42\n"
    )
    assert "10.155.0.10/24" in compose(*inside, "ip", "address")
    web = ("exec", "-T", "web")
    assert "10.155.0.10" in compose(*web, "nslookup", "store")
    variables = compose(*web, "env").splitlines()
    assert {"FROM_FILE=yes", "QUOTED=a b", "OWN=1", "PASSED=on"} <= set(variables)
    assert compose(*web, "sh", "-c", "ulimit -n; hostname; grep 10.9.8.7 /etc/hosts") == (
        "2000\nwebhost\n10.9.8.7\touter\n"
    )
    assert compose.status(*web, "touch", "/www/new") == 1
    template = "{{.HostConfig.Memory}} {{.HostConfig.CapDrop}} {{.HostConfig.ReadonlyRootfs}}"
    inspected = compose.clients.docker("inspect", f"--format={template}", "large-web-1")
    assert inspected == "67108864 [ALL] true\n"


def test_published_ports(compose: Compose) -> None:
    assert compose("port", "web", "80") == "127.0.0.1:18088\n"
    page = compose.clients.ok("busybox", "wget", "-qO-", "http://127.0.0.1:18088/index.html")
    # What the command line said about the argument counted.
    assert page == "page green\n"
    assert "127.0.0.1:18088->80/tcp" in compose("ps")


def test_exec(compose: Compose) -> None:
    assert compose("exec", "-T", "database", "cat", stdin="through\n") == "through\n"
    words = ("exec", "-T", "--user=65534", "--workdir=/data", "--env=A=1", "database")
    assert compose(*words, "sh", "-c", "id -u; pwd; echo $A") == "65534\n/data\n1\n"
    assert compose.status("exec", "-T", "database", "sh", "-c", "exit 7") == 7
    first, second = (compose("exec", "-T", f"--index={n}", "worker", "hostname") for n in (1, 2))
    assert first != second


def test_copying(compose: Compose, tmp_path: Path) -> None:
    compose("cp", "database:/data/log", str(tmp_path / "log"))
    assert (tmp_path / "log").read_text() == "up\n"
    (tmp_path / "in").write_text("in\n")
    compose("cp", "--all", str(tmp_path / "in"), "worker:/tmp/in")
    for index in (1, 2):
        assert compose("exec", "-T", f"--index={index}", "worker", "cat", "/tmp/in") == "in\n"


def test_logs_and_events(compose: Compose) -> None:
    assert compose("logs", "--no-color", "--tail=2", "worker").count("tick") == 4
    argv = (*compose.argv, "events", "--json")
    environment = compose.clients.environment
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as events:
        assert events.stdout is not None
        try:
            # Restarted until it is seen: the client does not say when it has begun to listen.
            os.set_blocking(events.stdout.fileno(), False)
            seen = ""
            while '"action":"start"' not in seen:
                compose("restart", "--timeout=0", "worker")
                seen += events.stdout.read() or ""
        finally:
            events.terminate()
    follow = (*compose.argv, "logs", "--follow", "--no-color", "--no-log-prefix", "worker")
    with subprocess.Popen(follow, env=environment, stdout=subprocess.PIPE, text=True) as logs:
        assert logs.stdout is not None
        for _ in range(20):
            assert logs.stdout.readline().endswith("tick\n")
        logs.terminate()


def test_pausing_killing_and_scaling(compose: Compose) -> None:
    compose("pause", "worker")
    assert {value["State"] for value in compose.listed("worker").values()} == {"paused"}
    compose("unpause", "worker")
    compose("up", "--detach", "--no-recreate", "--scale=worker=3", "--scale=tool=0")
    assert len(compose("ps", "--quiet", "worker").split()) == 3
    compose("up", "--detach", "--no-recreate", "--scale=worker=1", "--scale=tool=0")
    compose("kill", "--signal=SIGKILL", "worker")
    (killed,) = compose.listed("worker").values()
    assert (killed["State"], killed["ExitCode"]) == ("exited", 137)
    compose("rm", "--force", "--stop", "--volumes", "worker")
    assert compose.listed("worker") == {}
    compose("up", "--detach", "--scale=tool=0")
    assert len(compose("ps", "--quiet", "worker").split()) == 2


def test_single_runs(compose: Compose) -> None:
    run = ("run", "--rm", "-T", "--no-deps")
    assert compose(*run, "--env=A=1", "worker", "sh", "-c", "echo $A") == "1\n"
    assert compose.status(*run, "worker", "sh", "-c", "exit 9") == 9
    assert compose(*run, "tool") == "tool 5\n"
    compose("stop", "web")
    compose("run", "--detach", "--name=large-published", "--service-ports", "web")
    try:
        page = compose.clients.ok("busybox", "wget", "-qO-", "http://127.0.0.1:18088/extra")
        assert page == "extra\n"
    finally:
        compose.clients.docker("rm", "--force", "large-published")
    compose("start", "web")
