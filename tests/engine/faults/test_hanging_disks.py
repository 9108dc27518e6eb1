"""A disk or server that does not answer costs what needs it, and nobody else anything."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.engine.containers.engine_host import UserEngine
    from tests.engine.faults.hanging_disk import HangingDisk

SLEEP = ["sleep", "100000"]
MANY = 12
"""More than the threads that asyncio has on this machine."""

NAMES = ("stopped", "removed", "killed")


def make_volume(engine: UserEngine, name: str, device: str) -> None:
    options = {"type": "none", "o": "bind", "device": device}
    body = {"Name": name, "DriverOpts": options}
    assert engine.request("POST", "/volumes/create", body)[0] == 201


def check_rest_works(engine: UserEngine) -> None:
    """Everything that does not need the disk."""
    assert engine.request("GET", "/_ping")[0] == 200
    assert engine.request("POST", "/volumes/create", {"Name": "plain"})[0] == 201
    engine.run("free", SLEEP, HostConfig={"Binds": ["plain:/data"]})
    assert engine.execute("free", ["true"])[0] == 0
    names = [entry["Names"] for entry in engine.request("GET", "/containers/json")[1]]
    assert ["/free"] in names
    assert engine.request("POST", "/containers/free/stop?t=0")[0] == 204
    assert engine.request("DELETE", "/containers/free?v=1")[0] == 204
    assert engine.request("DELETE", "/volumes/plain")[0] == 204
    assert engine.request("GET", "/volumes")[0] == 200


def test_volumes_whose_servers_hang_stop_nothing_else(
    user_engine: UserEngine, disk: HangingDisk
) -> None:
    engine = user_engine
    for number in range(MANY):
        make_volume(engine, f"slow{number}", f"{disk.path}/sub")
        options = {"Binds": [f"slow{number}:/data:nocopy"], "NetworkMode": "none"}
        engine.create(f"slow{number}", SLEEP, HostConfig=options)
    disk.hang.set()
    with ThreadPoolExecutor(MANY) as clients:
        starts = [
            clients.submit(engine.request, "POST", f"/containers/slow{number}/start")
            for number in range(MANY)
        ]
        engine.wait_until(lambda: disk.unanswered)

        check_rest_works(engine)
        check_rest_works(engine)

        assert not any(start.done() for start in starts)
        disk.close_waiters()
        assert {start.result()[0] for start in starts} == {500}


def test_bind_source_that_hangs_is_refused_in_time(
    user_engine: UserEngine, disk: HangingDisk
) -> None:
    engine = user_engine
    engine.create("bound", SLEEP, HostConfig={"Binds": [f"{disk.path}/sub:/data"]})
    disk.hang.set()
    answers: list[tuple[int, Any]] = []
    start = threading.Thread(
        target=lambda: answers.append(engine.request("POST", "/containers/bound/start"))
    )
    start.start()
    engine.wait_until(lambda: disk.unanswered)

    check_rest_works(engine)

    start.join()
    # Not asked a second time while the first has no answer.
    mounts = [{"Type": "bind", "Source": f"{disk.path}/sub", "Target": "/data"}]
    body = {"Image": "busybox", "Cmd": SLEEP, "HostConfig": {"Mounts": mounts}}
    answers.append(engine.request("POST", "/containers/create?name=refused", body))
    assert [status for status, _ in answers] == [503, 503]
    assert all("does not answer" in answer["message"] for _, answer in answers)
    assert engine.request("DELETE", "/containers/bound?force=1")[0] == 204


def test_process_that_no_signal_ends_is_reported_and_kept(
    user_engine: UserEngine, disk: HangingDisk
) -> None:
    engine = user_engine
    binds = {"Binds": [f"{disk.path}:/data"], "NetworkMode": "none"}
    for name in NAMES:
        command = ["sh", "-c", "until [ -e /go ]; do sleep 0.1; done; exec cat /data/file"]
        engine.run(name, command, HostConfig=binds)
    disk.hang.set()
    with ThreadPoolExecutor(4) as clients:
        pids = [engine.inspect(name)["State"]["Pid"] for name in NAMES]
        for name in NAMES:
            assert engine.execute(name, ["touch", "/go"])[0] == 0
        engine.wait_until(lambda: all(map(reads_disk, pids)))

        def ask(method: str, target: str) -> Future[tuple[int, Any]]:
            return clients.submit(engine.request, method, target)

        answers = [
            ask("POST", "/containers/stopped/stop?t=0"),
            ask("DELETE", "/containers/removed?force=1"),
            ask("POST", "/containers/killed/kill"),
        ]
        check_rest_works(engine)
        assert [answer.result()[0] for answer in answers] == [500, 500, 500]
        texts = [answer.result()[1]["message"] for answer in answers]
    missing = "tried to kill container, but did not receive an exit event"
    assert texts == [
        f"cannot stop container: stopped: {missing}",
        f'cannot remove container "removed": could not kill container: {missing}',
        f"cannot kill container: killed: {missing}",
    ]
    assert engine.state("stopped") == engine.state("removed") == "running"

    disk.close_waiters()
    engine.wait_until(lambda: engine.state("stopped") == "exited")
    for name in NAMES:
        assert engine.request("DELETE", f"/containers/{name}?force=1")[0] == 204


def reads_disk(pid: int) -> bool:
    """Whether a container's init has become the program that reads, and waits."""
    with open(f"/proc/{pid}/cmdline") as command, open(f"/proc/{pid}/stat") as status:
        waits = status.read().rpartition(")")[2].split()[0] in "SD"
        return command.read().startswith("cat") and waits
