"""The gate before a reboot: what closes it, when it is asked, and what becomes of the lock."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from orlop.lib.errors import Conflict, Forbidden
from orlop.system.config.configuration import Configuration
from orlop.system.config.store import boot_id
from orlop.system.health.plan import Report, Verdict
from orlop.system.updates import fleetlock, gate, gate_worker, held_lock
from orlop.system.updates.held_lock import Held
from orlop.system.updates.windows import DAYS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Mapping
    from pathlib import Path

    from orlop.system.boot import Boot
    from orlop.wire.compose_model import Json

OPEN: dict[str, Json] = {}
CLOSED: dict[str, Json] = {"windows": [{"days": [*DAYS], "start": "00:00", "length": "1m"}]}


class Server:
    """A server of the protocol that does as it is told, and keeps what it was sent."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.answers: list[tuple[int, bytes]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                """Nobody reads it."""

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append((self.path, body, dict(self.headers)))
                status, text = outer.answers.pop(0) if outer.answers else (200, b"")
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text)

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}/base"

    @property
    def asked(self) -> list[tuple[str, str, str]]:
        return [(path, body["phase"], body["result"]) for path, body, _ in self.requests]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    async def ask_worker(
        _children: object, request: Mapping[str, Json], _timeout_s: float
    ) -> dict[str, Any]:
        return await asyncio.to_thread(gate_worker.post, dict(request), None)

    monkeypatch.setattr(fleetlock, "ask_worker", ask_worker)
    found = Server()
    yield found
    found.http.shutdown()
    found.http.server_close()


class Machine(gate.Gate):
    """A gate of a machine without containers of the user's; *inhibited* says why it is."""

    def __init__(
        self, directory: Path, update: dict[str, Json], verdict: Verdict = Verdict.GREEN
    ) -> None:
        self.warnings: list[str] = []
        self.inhibited = self.asked = ""
        self.ready: list[str] = []
        loop = asyncio.get_running_loop()
        self.tasks: list[asyncio.Task[None]] = []

        def start(work: Awaitable[None], _name: str) -> asyncio.Task[None]:
            self.tasks.append(loop.create_task(work))  # type: ignore[arg-type]
            return self.tasks[-1]

        async def watch() -> Report:
            return Report(verdict, "code", "web: why", ())

        data: dict[str, Json] = {"orlop": {"update": {**update, "drain": "1s"}}}
        boot = SimpleNamespace(
            config=SimpleNamespace(current=Configuration(data)),
            machine=SimpleNamespace(release={"build": "b1"}, warn=self.warnings.append),
            children=None,
            tasks=SimpleNamespace(start=start),
            health=SimpleNamespace(now=SimpleNamespace(watch=watch)),
        )
        super().__init__(cast("Boot", boot), str(directory))

    async def _labelled(self, label: str) -> list[tuple[str, dict[str, str]]]:
        is_asked = label == gate.INHIBIT and self.inhibited
        return [("user/backup", {label: self.inhibited})] if is_asked else []

    async def _warn_sessions(self, limit_s: float) -> None:
        self.ready.append(f"{limit_s:g}")

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def enter(machine: Machine, **more: Any) -> None:
    async with machine.entered("update", **more):
        pass


def lock(server: Server) -> dict[str, Json]:
    return {"lock": {"url": server.url, "group": "web", "token": "t"}}


def test_without_anything_it_is_open(tmp_path: Path) -> None:
    async def main() -> None:
        machine = Machine(tmp_path, OPEN)
        assert await machine.why() == ""
        await enter(machine)
        assert machine.ready == ["1"]
        await machine.became_good()

    asyncio.run(main())
    assert held_lock.read(tmp_path) is None


def test_the_lock_is_not_asked_for_while_something_else_is_in_the_way(
    tmp_path: Path, server: Server
) -> None:
    async def main() -> None:
        machine = Machine(tmp_path, {**lock(server), **CLOSED})
        with pytest.raises(Forbidden, match="no update window is open; the next one opens at 2"):
            await enter(machine)
        machine = Machine(tmp_path, lock(server))
        machine.inhibited = "nightly"
        with pytest.raises(Forbidden, match="container user/backup inhibits it: nightly"):
            await enter(machine)
        machine.inhibited = ""
        with (
            machine.inhibition("moving"),
            pytest.raises(Forbidden, match="somebody inhibits it: moving"),
        ):
            await enter(machine)
        with pytest.raises(Forbidden, match="held by me"):
            await enter(machine, held=lambda: "held by me")

    # The window of one minute at midnight may be open just now.
    from orlop.system.updates import windows

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "is_open", lambda found, *_: not found)
        asyncio.run(main())
    assert server.requests == []


def test_who_inhibits_too_late_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        machine = Machine(tmp_path, OPEN)
        with pytest.raises(RuntimeError):
            async with machine.entered("update"):
                raise RuntimeError("it fails")
        await enter(machine, reboots=False)
        with machine.inhibition("moving"):
            pass
        async with machine.entered("update"):
            with pytest.raises(Conflict, match="about to reboot"), machine.inhibition("moving"):
                pass
        with pytest.raises(Conflict, match="about to reboot"), machine.inhibition("moving"):
            pass
        assert await machine.why() == ""
        await machine.end()

    asyncio.run(main())


def test_what_this_program_has_taken_is_not_followed(tmp_path: Path, server: Server) -> None:
    """It is looked for some time after the boot, when somebody may have taken it."""

    async def main() -> None:
        machine = Machine(tmp_path, lock(server))
        await enter(machine)
        renewing = [*machine.tasks]
        await machine.follow()
        assert machine.tasks == renewing
        again = Machine(tmp_path, lock(server))  # as after a re-execution
        await again.follow()
        assert len(again.tasks) == 1
        await machine.end()
        await again.end()

    asyncio.run(main())


def test_what_is_sent(tmp_path: Path, server: Server) -> None:
    async def main() -> None:
        machine = Machine(tmp_path, lock(server))
        await enter(machine, to="v2")
        await machine.end()

    asyncio.run(main())
    path, body, headers = server.requests[0]
    assert path == "/base/v1/pre-reboot"
    own = body["client_params"].pop("id")
    assert len(own) == 32
    assert own == fleetlock.own_id(tmp_path)
    assert body == {
        "client_params": {"group": "web"}, "lease_s": 3600, "phase": "apply", "from": "b1",
        "to": "v2", "result": "",
    }  # fmt: skip
    assert headers["fleet-lock-protocol"] == "true"
    assert headers["Authorization"] == "Bearer t"
    held = held_lock.read(tmp_path)
    assert held is not None
    assert (held.purpose, held.to, held.going) == ("update", "v2", True)


def test_no_slot(tmp_path: Path, server: Server) -> None:
    server.answers = [(409, b'{"kind": "lock_held", "value": "all 1 slots are taken"}')]

    async def main() -> None:
        machine = Machine(tmp_path, lock(server))
        with pytest.raises(Forbidden, match=r"not granted: http\S+: all 1 slots are taken"):
            await enter(machine)

    asyncio.run(main())
    assert held_lock.read(tmp_path) is None
    assert len(server.requests) == 1


def test_the_lock_goes_back_if_it_is_held_while_containers_get_ready(
    tmp_path: Path, server: Server
) -> None:
    async def main() -> None:
        machine = Machine(tmp_path, lock(server))
        with pytest.raises(Forbidden, match="held"):
            await enter(machine, held=lambda: "held" if machine.ready else "")
        await machine.end()

    asyncio.run(main())
    assert [path for path, *_ in server.asked] == ["/base/v1/pre-reboot", "/base/v1/steady-state"]
    assert held_lock.read(tmp_path) is None


def test_a_lease_is_renewed_every_third_of_it(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> list[float]:
        slept: list[float] = []
        enough = asyncio.Event()

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 3:
                enough.set()
                await asyncio.Event().wait()

        machine = Machine(tmp_path, lock(server))
        monkeypatch.setattr(asyncio, "sleep", sleep)
        async with machine.entered("update"):
            await enough.wait()
        await machine.end()
        return slept

    assert asyncio.run(main()) == [fleetlock.LEASE_S / 3] * 3
    assert [phase for _, phase, _ in server.asked[:3]] == ["apply", "trial", "trial"]


def test_the_lock_goes_back_if_the_window_closes_meanwhile(tmp_path: Path, server: Server) -> None:
    async def main() -> None:
        machine = Machine(tmp_path, lock(server))

        def held() -> str:
            return "held" if server.requests else ""

        with pytest.raises(Forbidden, match="held"):
            await enter(machine, held=held)
        assert machine.ready == []  # nothing was drained
        await machine.end()

    asyncio.run(main())
    assert [path for path, *_ in server.asked] == ["/base/v1/pre-reboot", "/base/v1/steady-state"]
    assert held_lock.read(tmp_path) is None


@pytest.mark.parametrize(
    ("held", "verdict", "asked", "bad"),
    [
        # A reboot that was asked for, after which the machine works, or does not.
        (Held("reboot", "0", "b1", going=True), Verdict.GREEN, ("steady", "good"), None),
        (Held("reboot", "0", "b1", going=True), Verdict.RED, ("failed", "web: why"), "web: why"),
        # The update's build runs, and works.
        (Held("update", "0", "b0", "b1", going=True), Verdict.GREEN, ("steady", "good"), None),
        # The old build is back.
        (Held("update", "0", "b1", "b2", going=True), Verdict.GREEN,
         ("failed", "the update was taken back"), "the update was taken back"),
        # The power failed before anything was done.
        (Held("update", "0", "b1", "b2"), Verdict.GREEN, ("steady", "good"), None),
        # It was given back, and the server did not answer then.
        (Held("update", "0", "b1", "b2", going=True, good=True), Verdict.RED,
         ("steady", "good"), None),
        # It was bad before.
        (Held("update", "0", "b1", "b2", going=True, bad="old"), Verdict.GREEN,
         ("failed", "old"), "old"),
    ],
)  # fmt: skip
def test_after_a_boot(
    tmp_path: Path,
    server: Server,
    held: Held,
    verdict: Verdict,
    asked: tuple[str, str],
    bad: str | None,
) -> None:
    held_lock.write(tmp_path, held)

    async def main() -> None:
        machine = Machine(tmp_path, lock(server), verdict)
        async with asyncio.timeout(60):
            await machine.follow()
            # Not the last one: what was given up may still arrive, from a thread of the test's.
            while asked not in [request[1:] for request in server.asked]:
                await asyncio.sleep(0.01)
        await machine.end()

    asyncio.run(main())
    steady = [path for path, *_ in server.asked if path.endswith("steady-state")]
    assert len(steady) == (asked[0] == "steady")
    left = held_lock.read(tmp_path)
    assert (left and left.bad) == bad


def test_a_machine_that_was_bad_keeps_its_slot_over_a_refusal(
    tmp_path: Path, server: Server
) -> None:
    before = Held("update", "0", "b1", "b2", going=True, bad="old")
    held_lock.write(tmp_path, before)

    async def main() -> None:
        machine = Machine(tmp_path, lock(server))
        with pytest.raises(Forbidden):
            await enter(machine, held=lambda: "held" if server.requests else "")
        await machine.end()
        # The next update works.
        await enter(machine, to="b3")
        await machine.became_good()
        await machine.end()

    asyncio.run(main())
    paths = [path for path, phase, _ in server.asked if phase not in ("failed", "trial")]
    assert paths == ["/base/v1/pre-reboot"] * 2 + ["/base/v1/steady-state"]
    assert held_lock.read(tmp_path) is None


def test_answers_of_servers() -> None:
    read = gate_worker.read_answer
    assert read(200, b"") == {"status": 200, "kind": "", "value": ""}
    assert read(500, b"all 1 semaphore slots currently locked\n")["value"].startswith("all 1")
    assert read(404, b"[1]") == {"status": 404, "kind": "", "value": "[1]"}


def test_the_loop_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    asked_in: list[object] = []

    def held() -> str:
        asked_in.append(threading.current_thread())
        return "held"

    async def main() -> str:
        return await Machine(tmp_path, OPEN).why(held)

    assert asyncio.run(main()) == "held"
    assert asked_in[0] is not threading.main_thread()


def test_the_loop_does_not_wait_for_what_is_held(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, readers = held_lock.read, set[bool]()

    def watched(directory: Path) -> Held | None:
        readers.add(threading.current_thread() is threading.main_thread())
        return read(directory)

    monkeypatch.setattr(held_lock, "read", watched)

    async def main() -> None:
        machine = Machine(tmp_path, {**OPEN, **lock(server)})
        await enter(machine)
        await machine.became_bad("it was red")
        await machine.became_good()
        await machine.follow()
        await machine.end()

    asyncio.run(main())
    assert readers == {False}


def test_a_drain_that_ended_with_pid_1_gives_the_lock_back(tmp_path: Path, server: Server) -> None:
    async def main(held: Held) -> None:
        held_lock.write(tmp_path, held)
        machine = Machine(tmp_path, lock(server))
        async with asyncio.timeout(60):
            await machine.follow()
            while not server.asked:
                await asyncio.sleep(0.01)
        await machine.end()

    asyncio.run(main(Held("update", boot_id(), "b1", going=True)))
    assert server.asked[-1][1] == "trial"
    assert held_lock.read(tmp_path) is not None, "the reboot is still to come"
    server.requests.clear()
    asyncio.run(main(Held("update", boot_id(), "b1")))
    assert server.asked[-1][1:] == ("steady", "good")
    assert held_lock.read(tmp_path) is None
