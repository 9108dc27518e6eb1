"""The engine killed or replaced at any moment: containers go on, and nothing is forgotten."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.engine.containers.engine_host import EngineProcess

pytestmark = [pytest.mark.root, pytest.mark.engine]

COUNT = ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"]


def numbers(engine: EngineProcess, name: str) -> list[int]:
    return [int(line) for line in engine.logs(name).splitlines() if line]


def assert_no_gap(found: list[int]) -> None:
    assert found == list(range(found[0], found[0] + len(found)))


def test_containers_outlive_a_killed_engine_without_losing_a_line(engine: EngineProcess) -> None:
    engine.run("counter", COUNT)
    engine.wait_until(lambda: len(numbers(engine, "counter")) > 5)
    pid = engine.inspect("counter")["State"]["Pid"]

    engine.kill()
    time.sleep(0.3)  # Output meanwhile is what this is about: it waits in the pipe.
    engine.start()

    assert engine.inspect("counter")["State"]["Pid"] == pid
    assert engine.state("counter") == "running"
    before = len(numbers(engine, "counter"))
    engine.wait_until(lambda: len(numbers(engine, "counter")) > before + 10)
    assert_no_gap(numbers(engine, "counter"))
    assert engine.execute("counter", ["echo", "hello"]) == (0, b"hello\n")
    assert engine.request("POST", "/containers/counter/stop?t=0")[0] == 204
    assert engine.inspect("counter")["State"]["ExitCode"] in (137, 255)


@pytest.mark.parametrize("driver", ["local", "json-file"])
def test_no_line_is_lost_or_doubled_at_full_speed(engine: EngineProcess, driver: str) -> None:
    count = "i=0; while :; do i=$((i+1)); echo $i; done"
    keep = {"Type": driver, "Config": {"max-size": "4g"}}  # however slowly the engine comes back
    engine.run("fast", ["sh", "-c", count], HostConfig={"LogConfig": keep})

    def has_passed(number: int) -> bool:
        return numbers(engine, "fast")[-1:] > [number]

    for kills in range(1, 6):
        engine.wait_until(functools.partial(has_passed, kills * 20_000))
        engine.kill()
        engine.start()
    assert engine.request("POST", "/containers/fast/kill")[0] == 204
    engine.wait_until(lambda: engine.state("fast") == "exited")
    assert_no_gap(numbers(engine, "fast"))


def test_end_while_the_engine_is_dead_is_noticed(engine: EngineProcess) -> None:
    engine.run("short", ["sleep", "1000"])
    engine.run("again", ["sleep", "1000"], HostConfig={"RestartPolicy": {"Name": "always"}})
    pids = [engine.inspect(name)["State"]["Pid"] for name in ("short", "again")]

    engine.kill()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    engine.wait_until(lambda: not any(_runs(pid) for pid in pids))
    engine.start()

    engine.wait_until(lambda: engine.state("short") == "exited")
    engine.wait_until(lambda: engine.state("again") == "running")
    assert engine.inspect("short")["State"]["ExitCode"] != 0
    assert engine.inspect("again")["RestartCount"] == 1


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_reexec_in_place_keeps_children_and_exit_codes(engine: EngineProcess) -> None:
    engine.run("counter", COUNT)
    engine.run("five", ["sh", "-c", "while [ ! -e /tmp/go ]; do sleep 0.05; done; exit 5"])
    engine.wait_until(lambda: len(numbers(engine, "counter")) > 5)
    pid = engine.inspect("counter")["State"]["Pid"]

    engine.reexec()

    assert engine.inspect("counter")["State"]["Pid"] == pid
    before = len(numbers(engine, "counter"))
    engine.wait_until(lambda: len(numbers(engine, "counter")) > before + 5)
    assert_no_gap(numbers(engine, "counter"))
    assert engine.execute("five", ["touch", "/tmp/go"])[0] == 0
    assert engine.wait("five") == 5


def test_reexec_keeps_terminals_and_open_stdin(engine: EngineProcess) -> None:
    engine.run("term", ["sh", "-c", "while :; do tty; sleep 0.05; done"], Tty=True)
    engine.run("reader", ["cat"], OpenStdin=True)

    engine.reexec()

    assert engine.state("term") == "running"
    status, first = engine.request("GET", "/containers/term/logs?stdout=1")
    assert status == 200
    engine.wait_until(
        lambda: len(engine.request("GET", "/containers/term/logs?stdout=1")[1]) > len(first) + 20
    )
    assert engine.request("POST", "/containers/term/resize?h=33&w=101")[0] == 200
    # cat would have ended at an end-of-file.
    assert engine.state("reader") == "running"


def test_many_reexecs_leak_no_descriptor(engine: EngineProcess) -> None:
    engine.run("term", ["sleep", "1000"], Tty=True)
    engine.run("plain", ["sleep", "1000"])
    engine.reexec()
    before = engine.descriptors()

    for _ in range(3):
        engine.reexec()

    # One that is busy has some for a moment.
    engine.wait_until(lambda: engine.descriptors() <= before)
    engine.run("after", ["ls", "/proc/self/fd"])
    engine.wait("after")
    # stdin, stdout, stderr and the directory itself: nothing of the engine's.
    assert len(engine.logs("after").split()) <= 4


def test_corrupted_state_costs_only_its_container(engine: EngineProcess) -> None:
    bad = engine.create("bad", ["true"])
    engine.create("good", ["true"])
    engine.kill()
    (engine.directory / f"run/containers/{bad}/container.json").write_bytes(b'{"format": 1, ')

    engine.start()

    assert engine.request("GET", "/containers/bad/json")[0] == 404
    assert engine.state("good") == "created"
    assert "set aside" in engine.log()
    assert [path.name for path in (engine.directory / "run/broken").iterdir()] == [bad]
    engine.run("bad", ["true"])
    assert engine.wait("bad") == 0


def test_pending_restart_survives(engine: EngineProcess) -> None:
    engine.run(
        "flaky",
        ["sh", "-c", "exit 1"],
        HostConfig={"RestartPolicy": {"Name": "always"}},
    )
    engine.wait_until(lambda: engine.inspect("flaky")["RestartCount"] >= 3)
    engine.kill()
    engine.start()
    count = engine.inspect("flaky")["RestartCount"]
    engine.wait_until(lambda: engine.inspect("flaky")["RestartCount"] > count)


def test_vanished_log_directory_and_full_disk_do_not_stop_the_container(
    engine: EngineProcess,
) -> None:
    engine.run("counter", COUNT)
    engine.wait_until(lambda: len(numbers(engine, "counter")) > 3)
    logs = Path(engine.inspect("counter")["LogPath"]).parent
    shutil.rmtree(logs.parent)

    assert engine.execute("counter", ["true"])[0] == 0
    assert engine.state("counter") == "running"
    assert engine.request("POST", "/containers/counter/stop?t=0")[0] == 204
    assert engine.request("DELETE", "/containers/counter")[0] == 204


def test_bundle_that_cannot_be_written_is_a_clear_error(engine: EngineProcess) -> None:
    engine.create("one", ["true"])
    container_id = engine.inspect("one")["Id"]
    run = engine.directory / "run/containers" / container_id
    (run / "config.json").mkdir()

    status, answer = engine.request("POST", "/containers/one/start")

    assert status in (500, 507)
    assert "one" in answer["message"]
    assert engine.request("GET", "/_ping")[0] == 200
    (run / "config.json").rmdir()
    assert engine.request("POST", "/containers/one/start")[0] == 204
    assert engine.wait("one") == 0
