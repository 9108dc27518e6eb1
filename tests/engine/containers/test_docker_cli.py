"""The docker command line on our socket: what people type."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.engine.containers.engine_host import EngineProcess

pytestmark = [pytest.mark.root, pytest.mark.engine]


class Cli:
    """Runs docker against one engine."""

    def __init__(self, engine: EngineProcess) -> None:
        self._environment = {
            **os.environ,
            "DOCKER_HOST": f"unix://{engine.socket_path}",
            "DOCKER_CONFIG": str(engine.directory),
        }

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", *words],
            env=self._environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def ok(self, *words: str, stdin: str = "") -> str:
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 0, f"docker {' '.join(words)}: {done.stderr}"
        return done.stdout


@pytest.fixture
def docker(engine: EngineProcess) -> Cli:
    if shutil.which("docker") is None:
        pytest.skip("the docker command is not installed")
    return Cli(engine)


def test_version_and_info(docker: Cli) -> None:
    assert "28.0.0" in docker.ok("version", "--format", "{{.Server.Version}}")
    assert docker.ok("info", "--format", "{{.CgroupVersion}} {{.Driver}}") == "2 overlay2\n"


def test_run_streams_and_exit_codes(docker: Cli) -> None:
    done = docker.run("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 5")
    assert (done.returncode, done.stdout) == (5, "out\n")
    assert "err" in done.stderr
    assert docker.ok("run", "--rm", "-i", "busybox", "wc", "-c", stdin="x" * 70_000) == "70000\n"
    assert docker.run("run", "--rm", "busybox", "nosuchprogram").returncode == 127
    assert docker.run("run", "--rm", "nosuchimage").returncode == 125
    assert docker.ok("ps", "-aq") == ""


def test_a_day_in_the_life(docker: Cli) -> None:
    loop = "while :; do echo tick; sleep 0.1; done"
    docker.ok("run", "-d", "--name", "day", "--label", "kind=test", "busybox", "sh", "-c", loop)
    assert docker.ok("ps", "--filter", "label=kind=test", "--format", "{{.Names}}") == "day\n"
    assert docker.ok("exec", "-e", "A=b", "-w", "/tmp", "day", "sh", "-c", "pwd; echo $A") == (
        "/tmp\nb\n"
    )
    assert docker.run("exec", "day", "sh", "-c", "exit 9").returncode == 9
    assert docker.run("exec", "day", "nosuchprogram").returncode == 127
    assert "tick" in docker.ok("logs", "--tail", "1", "day")
    assert "sh -c" in docker.ok("top", "day")
    assert docker.ok("stats", "--no-stream", "--format", "{{.Name}}") == "day\n"
    docker.ok("pause", "day")
    assert "Paused" in docker.ok("ps", "--format", "{{.Status}}")
    docker.ok("unpause", "day")
    docker.ok("restart", "-t", "0", "day")
    docker.ok("rename", "day", "night")
    docker.ok("kill", "night")
    assert docker.ok("wait", "night") == "137\n"
    docker.ok("start", "night")
    docker.ok("stop", "-t", "0", "night")
    assert docker.ok("inspect", "-f", "{{.State.Status}}", "night") == "exited\n"
    docker.ok("rm", "night")
    assert docker.run("inspect", "night").returncode == 1


def test_listings_and_events(docker: Cli) -> None:
    assert "busybox" in docker.ok("images")
    assert {"host", "none"} <= set(docker.ok("network", "ls", "--format", "{{.Name}}").split())
    docker.ok("volume", "ls")
    docker.ok("system", "df")
    docker.ok("run", "--rm", "--name", "brief", "busybox", "true")
    # The client cuts times to whole seconds.
    until = str(int(time.time()) + 1)
    events = docker.ok("events", "--since", "5m", "--until", until, "--format", "{{.Action}}")
    assert [word for word in events.split() if word != "attach"] == [
        *("create", "start", "die", "destroy"),
    ]


def test_health_and_update(docker: Cli, engine: EngineProcess) -> None:
    check = ("--health-cmd", "true", "--health-interval", "100ms")
    docker.ok("run", "-d", "--name", "fit", *check, "busybox", "sleep", "1000")
    engine.wait_until(lambda: "(healthy)" in docker.ok("ps", "--format", "{{.Status}}"))
    docker.ok("update", "--restart", "always", "fit")
    policy = docker.ok("inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", "fit")
    assert policy == "always\n"
