"""PID 1 outlives everything, and whatever dies beside it comes back.

One machine for all: after each test every service runs again and PID 1 is the same process.
"""

import contextlib
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from orlop.vm.machine import Machine
from tests.vm import guest
from tests.vm.lab import Lab
from tests.vm.test_docker_cli import api_tunnel

FLOOD_CONNECTIONS = 300
MEMORY_GROWTH_LIMIT_KIB = 8 << 10
"""What one test may leave behind: caches of Python, not a leak per event."""

GARBAGE = [
    b"",
    b"\0" * 4096,
    b"GET",
    b"GET /containers/json HTTP/9.9\r\n\r\n",
    b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n{",
    b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n{{{{{",
    b"POST /containers/create HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /containers/%00%ff/../../etc/json HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /containers/json?filters=[[[[ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /containers/json HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]


@pytest.fixture(scope="module")
def survivor(lab: Lab) -> Iterator[Machine]:
    with lab.machine(lab.kernel(), "survivor", key=True) as machine:
        machine.boot()
        guest.wait_for_services(machine)
        yield machine


@pytest.fixture(autouse=True)
def pid_1_survives(survivor: Machine) -> Iterator[None]:
    """Whatever a test does, PID 1 stays who it was and does not grow."""
    started, before_kib = guest.init_started(survivor), guest.init_memory_kib(survivor)
    yield
    guest.wait_for_services(survivor)
    assert guest.init_started(survivor) == started
    assert guest.init_memory_kib(survivor) <= before_kib + MEMORY_GROWTH_LIMIT_KIB


@pytest.mark.parametrize(
    "name", ["console", "devices", "network", "power", "ssh", "syslog", "time"]
)
def test_service_that_is_killed_comes_back(survivor: Machine, name: str) -> None:
    pid = guest.pids(survivor)[name]
    survivor.succeed(f"kill -9 {pid}")
    after = guest.wait_for_services(survivor, changed_from={name: pid})
    assert after[name] != pid


def test_agent_that_is_killed_comes_back(survivor: Machine) -> None:
    pid = guest.pids(survivor)[guest.AGENT]
    kill_from_console(survivor, str(pid))
    guest.wait_for_services(survivor, changed_from={guest.AGENT: pid})


def test_all_processes_killed_at_once(survivor: Machine) -> None:
    before = guest.pids(survivor)
    kill_from_console(survivor, "-1")
    guest.wait_for_services(survivor, changed_from=before, timeout_s=180)


def test_fork_bomb_in_a_container(survivor: Machine) -> None:
    before = guest.pids(survivor)
    # Ends by itself: each branch gives up when it cannot fork any more.
    bomb = "b() { b | b & }; b"
    with contextlib.suppress(AssertionError):
        survivor.run(guest.in_container("console", f"{bomb}; sleep 5"), timeout_s=60)
    assert guest.services(survivor)["console"] in (guest.RUNNING, "starting", "waiting")
    survivor.succeed("orlop service restart console", timeout_s=90)
    after = guest.wait_for_services(survivor)
    del before["console"], after["console"]
    assert after == before


def test_memory_hog_in_a_container(survivor: Machine) -> None:
    before = guest.pids(survivor)
    # tail keeps its last "line" in memory, and this one never ends.
    hog = "tail -n 1 /dev/zero"
    answer = survivor.run(guest.in_container("console", hog), timeout_s=180)
    assert answer.status != 0
    guest.wait_for_services(survivor)
    others = {name: pid for name, pid in before.items() if name != "console"}
    assert {name: guest.pids(survivor)[name] for name in others} == others


def test_garbage_on_the_api(survivor: Machine) -> None:
    with api_tunnel(survivor) as path:
        rng = random.Random(1)
        for data in [*GARBAGE, *(rng.randbytes(rng.randrange(1, 5000)) for _ in range(30))]:
            send_and_forget(path, data)
        survivor.succeed("orlop ps")


def test_flood_of_connections(survivor: Machine) -> None:
    """Connections that say nothing cost others nothing, and go when they are closed."""
    with contextlib.ExitStack() as stack, api_tunnel(survivor) as path:
        for _ in range(FLOOD_CONNECTIONS):
            with contextlib.suppress(OSError):
                connection = stack.enter_context(socket.socket(socket.AF_UNIX))
                connection.settimeout(5)
                connection.connect(str(path))
        survivor.wait_until_succeeds("orlop ps", timeout_s=60)


def test_flood_of_requests(survivor: Machine) -> None:
    survivor.succeed(
        "for i in 1 2 3 4; do"
        " (for n in 1 2 3 4 5; do orlop ps >/dev/null; orlop inspect nope 2>/dev/null; done) & "
        "done; wait",
        timeout_s=180,
    )


def test_reexec_without_a_container_noticing(survivor: Machine) -> None:
    before, count = guest.pids(survivor), guest.status(survivor)["reexecutions"]
    restarts = {name: row["restarts"] for name, row in guest.service_rows(survivor).items()}
    survivor.succeed("orlop system reexec")
    survivor.wait_until(
        lambda: reexecutions(survivor) == int(str(count)) + 1, "PID 1 is the next one", timeout_s=60
    )
    survivor.succeed("orlop status --wait 60")
    assert guest.pids(survivor) == before
    rows = guest.service_rows(survivor)
    assert {name: row["restarts"] for name, row in rows.items()} == restarts
    # It still looks after them.
    survivor.succeed(f"kill -9 {before['power']}")
    guest.wait_for_services(survivor, changed_from={"power": before["power"]})
    survivor.succeed("logger -t orlop-test 'after the change'")
    survivor.wait_until_succeeds("grep -q 'after the change' /var/log/orlop/messages")


def test_service_that_is_stopped_stays_so_until_started(survivor: Machine) -> None:
    survivor.succeed("orlop service stop power")
    assert guest.services(survivor)["power"] == "stopped"
    survivor.succeed("orlop service start power")
    guest.wait_for_services(survivor)


def kill_from_console(machine: Machine, target: str) -> None:
    """`kill -9 TARGET` from a container other than the agent's, once the answer is out."""
    script = f"(sleep 1; kill -9 {target}) </dev/null >/dev/null 2>&1 &"
    machine.succeed(guest.in_container("console", script))


def reexecutions(machine: Machine) -> int:
    status, output = machine.execute("orlop status --json | grep -o '\"reexecutions\": *[0-9]*'")
    return int(output.rpartition(":")[2]) if status == 0 else -1


def send_and_forget(path: Path, data: bytes) -> None:
    """Send *data* to the socket, read a little of what comes, hang up."""
    with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
        connection.settimeout(2)
        connection.connect(str(path))
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(4096)
