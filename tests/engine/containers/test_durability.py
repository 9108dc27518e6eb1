"""The user's engine: what it knows survives its death at any moment, and a power cut."""

from __future__ import annotations

import contextlib
import functools
import http.client
import itertools
import os
import random
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from orlop.engine.container import exit_notes
from orlop.engine.runtime.confinement import read_start_ticks
from orlop.lib import cgroup, mount
from orlop.lib.children import ExitStatus, killed_by
from orlop.lib.linux import set_child_subreaper

if TYPE_CHECKING:
    from tests.engine.containers.engine_host import UserEngine

pytestmark = [pytest.mark.root, pytest.mark.engine]

SLEEP = ["sleep", "100000"]
KILLS = 25
KILL_SEED = 4


def policy(name: str) -> dict[str, object]:
    return {"RestartPolicy": {"Name": name}}


def test_before_the_machine_ends_all_containers_are_ended_in_order(user_engine: UserEngine) -> None:
    engine = user_engine

    def has(name: str, state: str, logs: bytes) -> bool:
        return engine.state(name) == state and engine.logs(name) == logs

    script = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done"
    for name in ("always", "unless-stopped", "no"):
        engine.run(name, ["sh", "-c", script], HostConfig=policy(name))
        engine.wait_until(functools.partial(has, name, "running", b"up\n"))
    engine.run("flaky", ["sh", "-c", "exit 1"], HostConfig=policy("always"))
    engine.run("paused", ["sh", "-c", script])
    engine.wait_until(lambda: engine.logs("paused") == b"up\n")
    assert engine.request("POST", "/containers/paused/pause")[0] == 204

    os.kill(engine.pid, signal.SIGPWR)
    engine.wait_until(lambda: not cgroup.is_populated(engine.cgroup_root))

    for name in ("always", "unless-stopped", "no", "paused"):
        engine.wait_until(functools.partial(has, name, "exited", b"up\nbye\n"))
        assert engine.inspect(name)["State"]["ExitCode"] == 0
    assert engine.request("POST", "/containers/no/start")[0] == 503
    engine.kill()
    engine.start()
    engine.wait_until(lambda: engine.state("always") == engine.state("unless-stopped") == "running")
    assert engine.state("no") == "exited"


def test_power_cut_keeps_containers_and_applies_policies(user_engine: UserEngine) -> None:
    engine = user_engine
    # Not again at the second start: while it is written it may be read as empty.
    command = "[ -e /kept ] || echo data > /kept; exec sleep 100000"
    kept = engine.run("plain", ["sh", "-c", command])
    engine.run("always", SLEEP, HostConfig=policy("always"))
    engine.run("unless", SLEEP, HostConfig=policy("unless-stopped"))
    engine.run("failing", SLEEP, HostConfig=policy("on-failure"))
    engine.run("stopped-always", SLEEP, HostConfig=policy("always"))
    engine.run("stopped-unless", SLEEP, HostConfig=policy("unless-stopped"))
    engine.run("passing", ["sleep", "100000"], HostConfig={"AutoRemove": True})
    engine.run("three", ["sh", "-c", "exit 3"])
    assert engine.wait("three") == 3
    for name in ("stopped-always", "stopped-unless"):
        assert engine.request("POST", f"/containers/{name}/stop?t=0")[0] == 204
    assert engine.request("POST", "/containers/plain/rename?name=renamed")[0] == 204
    engine.wait_until(lambda: engine.execute("renamed", ["cat", "/kept"])[1] == b"data\n")

    engine.cut_power()
    engine.start()

    started = ("always", "unless", "failing", "stopped-always")
    engine.wait_until(lambda: all(engine.state(name) == "running" for name in started))
    assert engine.state("stopped-unless") == "exited"
    state = engine.inspect("renamed")["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 255)
    assert engine.inspect("renamed")["Id"] == kept
    assert engine.inspect("three")["State"]["ExitCode"] == 3
    engine.wait_until(lambda: engine.request("GET", "/containers/passing/json")[0] == 404)
    assert engine.request("POST", "/containers/renamed/start")[0] == 204
    assert engine.execute("renamed", ["cat", "/kept"]) == (0, b"data\n")


def test_torn_state_after_a_power_cut_costs_a_state_and_no_container(
    user_engine: UserEngine,
) -> None:
    engine = user_engine
    container = engine.run("torn", ["true"])
    engine.wait("torn")
    engine.cut_power()
    state = engine.directory / "data/containers" / container / "state.json"
    state.write_bytes(b"")

    status, output = engine.check()
    assert status == 1
    assert "state of container torn" in output
    assert engine.check("--repair")[0] == 0
    assert engine.check() == (0, "nothing is wrong\n")
    engine.start()
    assert engine.state("torn") == "created"


def test_damaged_record_is_set_aside_and_comes_back(user_engine: UserEngine) -> None:
    engine = user_engine
    container = engine.create("damaged", ["true"])
    engine.create("whole", ["true"])
    engine.kill()
    record = engine.directory / "data/containers" / container / "container.json"
    text = record.read_bytes()
    record.write_bytes(text[: len(text) // 2])

    engine.start()
    assert engine.request("GET", "/containers/damaged/json")[0] == 404
    assert engine.state("whole") == "created"

    engine.kill()
    (engine.directory / "data/broken" / container / "container.json").write_bytes(text)
    assert engine.check("--repair")[0] == 0
    engine.start()
    assert engine.state("damaged") == "created"


def test_second_engine_on_the_same_data_is_refused(user_engine: UserEngine) -> None:
    status, output = user_engine.check()
    assert status == 1
    assert "another engine uses" in output


def test_removed_socket_comes_back(user_engine: UserEngine) -> None:
    user_engine.socket_path.unlink()
    user_engine.wait_until(user_engine.answers)


def test_group_may_use_the_socket(user_engine: UserEngine) -> None:
    engine = user_engine
    engine.kill()
    engine.options = ("--group", "1234")
    engine.start()
    found = engine.socket_path.stat()
    assert (found.st_gid, found.st_mode & 0o777) == (1234, 0o660)


def test_killed_at_any_moment_it_is_consistent(user_engine: UserEngine) -> None:
    """SIGKILL at random moments of create, start, stop and removal; then all must fit together."""
    engine = user_engine
    moments = random.Random(KILL_SEED)
    engine.run("witness", SLEEP)
    pid = engine.inspect("witness")["State"]["Pid"]
    for number in range(KILLS):
        acknowledged: list[str] = []
        worker = threading.Thread(target=keep_busy, args=(engine, number, acknowledged))
        worker.start()
        time.sleep(moments.uniform(0.0, 0.12))
        engine.kill()
        worker.join()
        engine.start()
        assert_consistent(engine, acknowledged)
        assert engine.inspect("witness")["State"]["Pid"] == pid
    status, output = engine.request("POST", "/containers/witness/kill")
    assert status == 204, output


def keep_busy(engine: UserEngine, number: int, acknowledged: list[str]) -> None:
    """Work until the engine is gone; what it has answered goes to *acknowledged*."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        for turn in itertools.count():
            name = f"c{number}-{turn}"
            body = {"Image": "busybox", "Cmd": SLEEP}
            for step, method, target in (
                ("created", "POST", f"/containers/create?name={name}"),
                ("running", "POST", f"/containers/{name}/start"),
                ("exited", "POST", f"/containers/{name}/stop?t=0"),
                ("gone", "DELETE", f"/containers/{name}"),
            ):
                status, _ = engine.request(method, target, body if step == "created" else None)
                if status < 300:
                    acknowledged.append(f"{name} {step}")


def assert_consistent(engine: UserEngine, acknowledged: list[str]) -> None:
    """What was answered holds, and the kernel has what the engine lists, no more."""
    _, listed = engine.request("GET", "/containers/json?all=1")
    states = {item["Names"][0].lstrip("/"): item["State"] for item in listed}
    ids = {item["Id"]: item["State"] for item in listed}
    last = dict(item.split() for item in acknowledged)
    order = ["created", "running", "exited", "gone"]
    for name, step in last.items():
        # The next step may have happened, unanswered.
        possible = order[order.index(step) : order.index(step) + 2]
        assert states.get(name, "gone") in possible, (name, step, states)
    up = {name for name, state in states.items() if state in UP}
    engine.wait_until(lambda: populated_cgroups(engine) == up)
    engine.wait_until(lambda: mounted_ids(engine) == {i for i, state in ids.items() if state in UP})
    records = {path.name for path in (engine.directory / "data/containers").iterdir()}
    assert records == set(ids)
    for name, state in states.items():
        if name != "witness" and state in UP:
            assert engine.request("DELETE", f"/containers/{name}?force=1")[0] == 204


UP = frozenset({"running", "paused"})


def mounted_ids(engine: UserEngine) -> set[str]:
    directory = engine.directory / "run/containers"
    return {
        entry.target.parent.name
        for entry in mount.read_mounts()
        if entry.target.is_relative_to(directory)
    }


def populated_cgroups(engine: UserEngine) -> set[str]:
    """Each container's cgroup has its name."""
    directories = [path for path in engine.cgroup_root.iterdir() if path.is_dir()]
    return {path.name for path in directories if cgroup.is_populated(path)}


def test_exit_code_while_dead_is_known_where_the_kernel_tells(user_engine: UserEngine) -> None:
    engine = user_engine
    engine.run("seven", ["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done"])
    pid = engine.inspect("seven")["State"]["Pid"]
    engine.kill()
    engine.start()  # not its parent any more
    os.kill(pid, signal.SIGTERM)
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    assert engine.wait("seven") == (7 if release >= (6, 15) else 255)


def test_exit_code_of_an_end_between_two_engines_is_kept_by_who_reaps(
    user_engine: UserEngine,
) -> None:
    """Here it is the test that is the containers' next parent, as PID 1 is on the machine."""
    engine = user_engine
    exits = engine.directory / "run" / exit_notes.DIRECTORY
    exits.mkdir()
    set_child_subreaper()
    try:
        on_failure = {"RestartPolicy": {"Name": "on-failure"}}
        engine.run("seven", ["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done"])
        engine.run("fine", ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done"])
        engine.run("again", ["sleep", "1000"], HostConfig=on_failure)
        engine.run("stays", ["sleep", "1000"])
        pids = {name: engine.inspect(name)["State"]["Pid"] for name in ("seven", "fine", "again")}
        assert len(list(exits.iterdir())) == 4

        engine.kill()
        for name, pid in pids.items():
            os.kill(pid, signal.SIGKILL if name == "again" else signal.SIGTERM)
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            assert ended is not None
            status = decode(ended.si_code, ended.si_status)
            exit_notes.answer(engine.directory / "run", pid, read_start_ticks(pid), status)
            os.waitpid(pid, 0)
        engine.start()
    finally:
        set_child_subreaper(enabled=False)

    engine.wait_until(lambda: engine.state("seven") == engine.state("fine") == "exited")
    states = {name: engine.inspect(name)["State"] for name in ("seven", "fine")}
    assert {name: state["ExitCode"] for name, state in states.items()} == {"seven": 7, "fine": 0}
    assert {state["Error"] for state in states.values()} == {""}
    engine.wait_until(lambda: engine.state("again") == "running")
    assert engine.inspect("again")["RestartCount"] == 1
    assert engine.state("stays") == "running"
    # Of those that run, and of nothing else, the next parent is asked about.
    engine.wait_until(lambda: len(list(exits.iterdir())) == 2)


def decode(code: int, status: int) -> ExitStatus:
    return ExitStatus(status) if code == os.CLD_EXITED else killed_by(status)
