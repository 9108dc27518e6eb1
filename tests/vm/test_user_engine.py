"""The user's engine on the machine: apart from the system, and nothing is lost with it.

One machine with a state disk for all; tests leave no container behind.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from orlop.lib.errors import OrlopError
from orlop.vm.directory import DOCKER_SOCKET
from orlop.vm.machine import Machine
from tests.engine.store.archives import busybox_layer, docker_archive
from tests.vm import guest
from tests.vm.lab import Lab
from tests.vm.test_docker_cli import api_tunnel, docker

COUNT = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done"
FAST_LINES, FEW_LINES = 60_000, 3_000
MEMORY_LIMIT_MIB = 160
"""Of the whole machine with a user's container, much above what is aimed at: not to be passed."""


IMAGE = "busybox:test"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `docker save` would have made of an image with busybox."""
    path = tmp_path_factory.mktemp("archive") / "busybox.tar"
    path.write_bytes(docker_archive([busybox_layer()], tags=[IMAGE]))
    return path


@pytest.fixture(scope="module")
def user_machine(lab: Lab, archive: Path) -> Iterator[Machine]:
    with lab.machine(
        lab.kernel(), "user", key=True, disks=(lab.state_disk(512),), memory_mib=256
    ) as machine:
        machine.boot()
        guest.wait_for_services(machine)
        with user_api(machine) as name:
            docker(name, "load", "-i", str(archive))
        yield machine


@pytest.fixture
def host(user_machine: Machine) -> Iterator[str]:
    """`DOCKER_HOST` for the user's engine, without containers before and after."""
    with user_api(user_machine) as name:
        yield name
    with user_api(user_machine) as name:  # a test may have booted the machine anew
        remove_all(name)


@contextlib.contextmanager
def user_api(machine: Machine) -> Iterator[str]:
    """`DOCKER_HOST` for the user's engine, which answers."""
    with api_tunnel(machine, DOCKER_SOCKET) as socket:
        name = f"unix://{socket}"
        machine.wait_until(lambda: answers(name), "the user's engine answers", timeout_s=60)
        yield name


def remove_all(host: str) -> None:
    """`docker rm -f $(docker ps -aq)`."""
    if found := docker(host, "ps", "-aq").split():
        docker(host, "rm", "-f", *found)


def numbers(host: str) -> list[int]:
    return [int(line) for line in docker(host, "logs", "counter").split()]


def kill_engine(machine: Machine, host: str) -> None:
    before = guest.pids(machine)["engine"]
    machine.succeed(f"kill -9 {before}")
    guest.wait_for_services(machine, changed_from={"engine": before})
    machine.wait_until(lambda: answers(host), "the user's engine answers", timeout_s=60)


def answers(host: str) -> bool:
    try:
        docker(host, "version")
    except OrlopError:
        return False
    return True


def test_container_of_the_user_is_in_the_cgroup_of_the_user(
    user_machine: Machine, host: str
) -> None:
    docker(host, "run", "-d", "--name", "one", IMAGE, "sleep", "100000")
    [found] = json.loads(docker(host, "inspect", "one"))
    cgroup = user_machine.succeed(f"cat /proc/{found['State']['Pid']}/cgroup")
    assert cgroup.strip().endswith("/user/one")
    assert docker(host, "run", "--rm", "-m", "32m", IMAGE, "echo", "hello") == "hello\n"
    assert guest.warnings(user_machine) == []


def test_removal_of_everything_does_not_touch_the_system(user_machine: Machine, host: str) -> None:
    before = guest.pids(user_machine)
    for name in ("one", "two"):
        docker(host, "run", "-d", "--name", name, IMAGE, "sleep", "100000")
    remove_all(host)
    assert docker(host, "ps", "-aq") == ""
    assert guest.pids(user_machine) == before


def test_killed_engine_loses_no_container_and_no_line(user_machine: Machine, host: str) -> None:
    docker(host, "run", "-d", "--name", "counter", IMAGE, "sh", "-c", COUNT)
    user_machine.wait_until(lambda: len(numbers(host)) > 5, "some lines", timeout_s=60)
    [before] = json.loads(docker(host, "inspect", "counter"))

    kill_engine(user_machine, host)

    [after] = json.loads(docker(host, "inspect", "counter"))
    assert after["State"]["Pid"] == before["State"]["Pid"]
    count = len(numbers(host))
    user_machine.wait_until(lambda: len(numbers(host)) > count + 5, "more lines", timeout_s=60)
    found = numbers(host)
    assert found == list(range(1, len(found) + 1))
    # The new engine has the old one's mounts and pipes.
    assert docker(host, "exec", "counter", "echo", "inside") == "inside\n"
    docker(host, "stop", "-t", "0", "counter")


def test_killed_engine_loses_no_line_at_full_speed(user_machine: Machine, host: str) -> None:
    """Killed at whatever it does; every line is there once, and the exit status is right.

    Also of one that ends, with output in its pipe, before the next engine is there.
    """
    drivers = ("local", "json-file")
    count = "i=0; while [ $i -lt %d ]; do i=$((i+1)); echo $i; done; exit 7"
    for driver in drivers:
        words = ("run", "-d", "--log-driver", driver, "--name", driver, IMAGE)
        docker(host, *words, "sh", "-c", count % FAST_LINES)
    slow = f"while [ ! -e /tmp/go ]; do sleep 0.1; done; sleep 2; {count % FEW_LINES}"
    docker(host, "run", "-d", "--name", "ends", IMAGE, "sh", "-c", slow)
    pid = pid_of(host, "ends")
    kill_engine(user_machine, host)

    engine = guest.pids(user_machine)["engine"]
    docker(host, "exec", "ends", "touch", "/tmp/go")
    user_machine.succeed(f"kill -9 {engine}; [ -e /proc/{pid} ]")
    user_machine.wait_until(lambda: answers(host), "the user's engine answers", timeout_s=120)
    assert docker(host, "wait", "ends", *drivers).split() == ["7", "7", "7"]
    for name, lines in (("ends", FEW_LINES), *((driver, FAST_LINES) for driver in drivers)):
        found = [int(line) for line in docker(host, "logs", name).split()]
        assert found == list(range(1, lines + 1))


def test_exit_status_of_an_end_without_an_engine_is_known(user_machine: Machine, host: str) -> None:
    """PID 1 is the parent of the containers by then, and tells the next engine."""
    trap = "trap 'exit 7' TERM; while :; do sleep 0.1; done"
    docker(host, "run", "-d", "--name=seven", IMAGE, "sh", "-c", trap)
    docker(host, "run", "-d", "--name=killed", IMAGE, "sleep", "100000")
    docker(host, "run", "-d", "--rm", "--name=gone", IMAGE, "sleep", "100000")
    docker(host, "run", "-d", "--name=stays", IMAGE, "sh", "-c", trap)
    pids = {name: pid_of(host, name) for name in ("seven", "killed", "gone", "stays")}

    user_machine.succeed("orlop service stop engine")
    user_machine.succeed(f"kill {pids['seven']}; kill -9 {pids['killed']} {pids['gone']}")
    user_machine.wait_until_succeeds(f"[ ! -e /proc/{pids['seven']} ]")
    user_machine.succeed("orlop service start engine")
    user_machine.wait_until(lambda: answers(host), "the user's engine answers", timeout_s=60)

    assert docker(host, "wait", "seven", "killed").split() == ["7", "137"]
    assert pid_of(host, "stays") == pids["stays"]
    assert "gone" not in docker(host, "ps", "-a")
    # Ends under an engine that is not its parent.
    docker(host, "stop", "stays")
    assert docker(host, "wait", "stays").strip() == "7"


def pid_of(host: str, name: str) -> int:
    return int(docker(host, "inspect", "-f", "{{.State.Pid}}", name))


def test_shutdown_and_power_cut_bring_back_what_is_to_run(user_machine: Machine, host: str) -> None:
    options = ("-d", "-v", "kept:/data")
    keep = "echo $(cat /data/starts 2>/dev/null)x > /data/starts; busybox sync; exec sleep 100000"
    docker(host, "run", *options, "--restart=always", "--name=web", IMAGE, "sh", "-c", keep)
    docker(host, "run", "-d", "--name=once", IMAGE, "sleep", "100000")
    user_machine.wait_until(lambda: starts(host) == "x", "the first start", timeout_s=60)
    user_machine.succeed("sleep 1")  # docs/user-engine.md: a state may be synced a little later

    user_machine.power_cut()
    user_machine.boot()
    guest.wait_for_services(user_machine)
    with user_api(user_machine) as again:
        user_machine.wait_until(lambda: starts(again) == "xx", "the second start", timeout_s=60)
        [once] = json.loads(docker(again, "inspect", "once"))
        assert (once["State"]["Status"], once["State"]["ExitCode"]) == ("exited", 255)

    user_machine.succeed("orlop reboot")
    user_machine.wait_for_ready()
    guest.wait_for_services(user_machine)
    with user_api(user_machine) as again:
        user_machine.wait_until(lambda: starts(again) == "xxx", "the third start", timeout_s=60)


def test_machine_without_a_disk_has_images_too(machine: Machine, archive: Path) -> None:
    with user_api(machine) as live:
        docker(live, "load", "-i", str(archive))
        assert docker(live, "run", "--rm", IMAGE, "echo", "hello") == "hello\n"
        docker(live, "rmi", IMAGE)


def starts(host: str) -> str:
    try:
        return docker(host, "exec", "web", "cat", "/data/starts").strip()
    except OrlopError:
        return ""


def test_memory(user_machine: Machine, host: str) -> None:
    docker(host, "run", "-d", "--name", "one", IMAGE, "sleep", "100000")
    text = user_machine.succeed("cat /proc/meminfo")
    values = dict(line.split(":") for line in text.splitlines() if line.startswith("Mem"))
    total, available = (int(values[key].split()[0]) for key in ("MemTotal", "MemAvailable"))
    assert (total - available) >> 10 < MEMORY_LIMIT_MIB
