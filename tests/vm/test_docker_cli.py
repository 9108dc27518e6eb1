"""Docker's own client against PID 1's engine, through the tunnel of `./orlop run`."""

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orlop.lib.process import environment, run
from orlop.vm import ssh
from orlop.vm.directory import DOCKER_SOCKET, SYSTEM_SOCKET
from orlop.vm.machine import Machine
from tests.vm import guest

TUNNEL_TIMEOUT_S = 60


@contextlib.contextmanager
def api_tunnel(machine: Machine, name: str = SYSTEM_SOCKET) -> Iterator[Path]:
    """One of the machine's API sockets on this host, for as long as the context lasts."""
    socket = machine.directory / name
    command = ssh.forward_command(machine.directory, machine.ssh_port())
    tunnel = subprocess.Popen(command, env=environment())
    try:
        deadline = time.monotonic() + TUNNEL_TIMEOUT_S
        while not socket.exists():
            assert time.monotonic() < deadline, "no tunnel"
            if tunnel.poll() is not None:  # the machine's SSH does not listen yet
                tunnel = subprocess.Popen(command, env=environment())
            time.sleep(0.1)
        yield socket
    finally:
        tunnel.terminate()
        tunnel.wait()
        for left in (DOCKER_SOCKET, SYSTEM_SOCKET):
            (machine.directory / left).unlink(missing_ok=True)


@pytest.fixture(scope="module")
def docker_host(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`DOCKER_HOST` for the shared machine, by a name short enough for a socket."""
    with api_tunnel(machine) as socket:
        yield f"unix://{socket}"


def docker(host: str, *words: str) -> str:
    return run(["docker", *words], env={"DOCKER_HOST": host}, timeout_s=120)


def test_version(docker_host: str) -> None:
    version = json.loads(docker(docker_host, "version", "--format", "{{json .Server}}"))
    assert version["Os"] == "linux"


def test_info(docker_host: str) -> None:
    info = json.loads(docker(docker_host, "info", "--format", "{{json .}}"))
    assert info["ContainersRunning"] >= len(guest.ALWAYS)


def test_ps(docker_host: str) -> None:
    rows = docker(docker_host, "ps", "--format", "{{.Names}} {{.State}}").splitlines()
    assert {f"{name} running" for name in guest.ALWAYS} <= set(rows)


def test_inspect(docker_host: str) -> None:
    [found] = json.loads(docker(docker_host, "inspect", "time"))
    assert found["State"]["Running"] is True
    assert found["HostConfig"]["ReadonlyRootfs"] is True
    assert found["HostConfig"]["RestartPolicy"]["Name"] == "always"


def test_exec(docker_host: str) -> None:
    assert docker(docker_host, "exec", "console", "echo", "hello") == "hello\n"


def test_exec_status(docker_host: str) -> None:
    done = subprocess.run(
        ["docker", "exec", "console", "sh", "-c", "exit 9"],
        env=environment({"DOCKER_HOST": docker_host}),
        timeout=120,
        check=False,
    )
    assert done.returncode == 9


def test_logs(docker_host: str) -> None:
    docker(docker_host, "logs", "--tail", "5", "--timestamps", "syslog")


def test_stats(docker_host: str) -> None:
    rows = docker(docker_host, "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}")
    assert {row.split()[0] for row in rows.splitlines()} >= guest.ALWAYS


def test_top(docker_host: str) -> None:
    assert "PID" in docker(docker_host, "top", "syslog")


def test_restart(machine: Machine, docker_host: str) -> None:
    before = guest.pids(machine)
    docker(docker_host, "restart", "power")
    after = guest.wait_for_services(machine, changed_from={"power": before["power"]})
    assert {name: pid for name, pid in after.items() if name != "power"} == {
        name: pid for name, pid in before.items() if name != "power"
    }
