"""The machine's health: from what was found to a verdict, and what time makes of it."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from orlop.engine.engine import Health as ContainerHealth
from orlop.engine.events import EventHub
from orlop.system.config.configuration import Configuration
from orlop.system.health import builtin, keeper
from orlop.system.health.builtin import Baseline
from orlop.system.health.plan import Check, Found, Report, Status, Verdict, judge, settings
from orlop.system.services.services import ServiceState, ServiceStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orlop.system.boot import Boot

OK, WAITING, FAILED = Status.OK, Status.WAITING, Status.FAILED


def found(status: Status, *, required: bool = True) -> Found:
    return Found("web", "http", required, status, str(status), "why")


@pytest.mark.parametrize(
    ("checks", "verdict", "text"),
    [
        ([], Verdict.GREEN, ""),
        ([found(OK)], Verdict.GREEN, ""),
        ([found(OK), found(FAILED)], Verdict.RED, "web: why"),
        ([found(WAITING), found(FAILED)], Verdict.RED, "web: why"),
        ([found(WAITING), found(WAITING)], Verdict.YELLOW, "web: why (and 1 more)"),
        ([found(FAILED, required=False)], Verdict.YELLOW, "web: why"),
        ([found(WAITING, required=False)], Verdict.GREEN, ""),
    ],
)
def test_verdict(checks: list[Found], verdict: Verdict, text: str) -> None:
    report = judge(checks)
    assert (report.verdict, report.text) == (verdict, text)


def service(state: ServiceState, **values: Any) -> ServiceStatus:
    defaults = {"health": ContainerHealth.NONE, "pid": 1, "restarts": 0, "started_s": 100.0}
    return ServiceStatus(
        name="web", state=state, reason=values.pop("reason", ""), depends_on=(), source="",
        **{**defaults, **values},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "must_run", "outcome"),
    [
        (service(ServiceState.RUNNING), True, (OK, "ok")),
        (service(ServiceState.RUNNING, restarts=1), False, (FAILED, "flapping")),
        (service(ServiceState.RUNNING, restarts=1, started_s=10.0), False, (OK, "ok")),
        (service(ServiceState.RUNNING, health=ContainerHealth.STARTING), False,
         (WAITING, "starting")),
        (service(ServiceState.RUNNING, health=ContainerHealth.UNHEALTHY), False,
         (FAILED, "unhealthy")),
        (service(ServiceState.RUNNING, reason="paused"), False, (FAILED, "paused")),
        (service(ServiceState.STARTING), False, (WAITING, "starting")),
        (service(ServiceState.STARTING, restarts=3), False, (FAILED, "restarting")),
        (service(ServiceState.WAITING), False, (WAITING, "starting")),
        (service(ServiceState.WAITING, next_s=500.0), True, (OK, "ok")),
        (service(ServiceState.FAILED), False, (FAILED, "failed")),
        (service(ServiceState.DONE), False, (OK, "ok")),
        (service(ServiceState.DONE), True, (FAILED, "stopped")),
        (service(ServiceState.STOPPED), True, (FAILED, "stopped")),
    ],
)  # fmt: skip
def test_service(status: ServiceStatus, must_run: bool, outcome: tuple[Status, str]) -> None:
    assert builtin.judge_service(status, 60, 150.0, must_run=must_run)[:2] == outcome


def test_routes(tmp_path: Path) -> None:
    head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
    lan = "eth0\t000A0A0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    default = "eth0\t00000000\t010A0A0A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    nothing = f"{'0' * 32} 00 {'0' * 32} 00 {'0' * 32} ffffffff 00000001 00000000 00200200       lo"
    by = f"{'0' * 32} 00 {'0' * 32} 00 fe80{'0' * 28} 00000400 00000001 00000000 00000003     eth0"
    assert builtin.read_routes(str(tmp_path)) == (False, False)
    (tmp_path / "route").write_text(head + lan)
    (tmp_path / "ipv6_route").write_text(nothing + "\n")
    assert builtin.read_routes(str(tmp_path)) == (False, False)
    (tmp_path / "route").write_text(head + lan + default)
    (tmp_path / "ipv6_route").write_text(f"{nothing}\n{by}\n")
    assert builtin.read_routes(str(tmp_path)) == (True, True)


def test_what_there_was_before_has_to_be_there() -> None:
    before, now = Baseline(True, False, True), Baseline(False, True, False)
    rows = builtin.compare(before, now, required=True, up_s=60.0)
    assert [(row.name, row.status, row.required) for row in rows] == [
        ("default route (IPv4)", FAILED, True),
        ("default route (IPv6)", OK, True),
        ("clock", FAILED, True),
    ]
    # A clock that was wrong before the update condemns nothing.
    (clock,) = builtin.compare(Baseline(), Baseline(), required=True, up_s=60.0)
    assert (clock.status, clock.required) == (FAILED, False)
    # Nor does a network that has not answered yet.
    early = builtin.compare(before, now, required=True, up_s=8.0)
    assert [row.status for row in early] == [WAITING, OK, WAITING]


def test_clock() -> None:
    made_s = 1_800_000_000.0
    assert builtin.is_sane(made_s + 1, made_s)
    assert not builtin.is_sane(made_s - 1, made_s)
    assert not builtin.is_sane(0.0, 0.0)
    assert not builtin.is_sane(made_s + 73 * 365 * 86400, made_s)


def test_disk(tmp_path: Path) -> None:
    async def main() -> None:
        assert (await builtin.disk(str(tmp_path), write=True)).status is OK
        assert list(tmp_path.iterdir()) == []
        assert (await builtin.disk(str(tmp_path / "gone"), write=True)).status is FAILED

    asyncio.run(main())


def test_ping(tmp_path: Path) -> None:
    async def main() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(b"HTTP/1.1 500 Internal Server Error\r\n\r\n")
            writer.close()

        path = str(tmp_path / "socket")
        assert (await builtin.ping("engine", path)).code == "engine"
        server = await asyncio.start_unix_server(answer, path)
        result = await builtin.ping("engine", path)
        server.close()
        assert result.text == f"{path} answers with an error"

    asyncio.run(main())


class Scripted(keeper.Health):
    """Health of which a test says what is found at which time."""

    def __init__(self, script: list[Status]) -> None:
        self.events = EventHub()
        self.started: list[str] = []
        labels = {"alarm": keeper.ON_BAD, "all-clear": keeper.ON_GOOD}
        loop = asyncio.get_running_loop()

        async def start(name: str) -> None:
            self.started.append(name)

        services = SimpleNamespace(
            names=lambda: ["web", *labels],
            definition=lambda name: SimpleNamespace(labels=((labels.get(name, ""), "true"),)),
            start=start,
        )
        self.tasks: list[asyncio.Task[None]] = []
        boot = SimpleNamespace(
            config=SimpleNamespace(current=Configuration()),
            machine=SimpleNamespace(
                health=None, hostname="ship",
                channel=SimpleNamespace(send=lambda *_args, **_values: None),
            ),
            engine=SimpleNamespace(events=self.events),
            services=services,
            tasks=SimpleNamespace(
                start=lambda work, _name: self.tasks.append(loop.create_task(work))
            ),
        )  # fmt: skip
        super().__init__(cast("Boot", boot))
        self._script = script

    async def evaluate(
        self, before: Baseline | None = None, more: Sequence[Check] = (), *, write: bool = True
    ) -> Report:
        status = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        return judge((found(status),), 1.0)


def watched(script: list[Status], settle_s: float, deadline_s: float) -> Report:
    """The outcome of a trial; time goes by at once."""

    class Loop(asyncio.SelectorEventLoop):
        now_s = 0.0

        def time(self) -> float:
            return self.now_s

        def _run_once(self) -> None:
            timer = self._scheduled  # type: ignore[attr-defined]
            if not self._ready and timer:  # type: ignore[attr-defined]
                self.now_s = max(self.now_s, timer[0].when())
            super()._run_once()  # type: ignore[misc]

    async def main() -> Report:
        return await Scripted(script).watch(settle_s, deadline_s)

    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(main())


@pytest.mark.parametrize(
    ("script", "verdict", "code"),
    [
        ([OK], Verdict.GREEN, "ok"),
        ([WAITING, WAITING, OK], Verdict.GREEN, "ok"),
        ([FAILED, FAILED, OK], Verdict.GREEN, "ok"),
        ([FAILED], Verdict.RED, "failed"),
        ([OK, FAILED], Verdict.RED, "failed"),
        ([WAITING], Verdict.RED, "deadline"),
        ([OK, FAILED] * 200, Verdict.RED, "deadline"),
    ],
    ids=["well", "late", "mends", "broken", "breaks", "never", "flaps"],
)
def test_trial(script: list[Status], verdict: Verdict, code: str) -> None:
    report = watched(script, 20, 100)
    assert (report.verdict, report.code) == (verdict, code)


def test_changes_are_events_and_start_services() -> None:
    async def main() -> None:
        health = Scripted([OK])
        for status in (OK, OK, FAILED, FAILED, OK):
            health._note(judge((found(status),), 1.0))
        await asyncio.gather(*health.tasks)
        assert [event.action for event in health.events.history()] == [
            "health_status: green", "health_status: red", "health_status: green",
        ]  # fmt: skip
        assert health.started == ["alarm", "all-clear"]

    asyncio.run(main())


@pytest.mark.parametrize(("age_s", "status"), [(5.0, WAITING), (600.0, FAILED)])
def test_the_users_engine_may_take_its_time_to_start(
    age_s: float, status: Status, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(keeper, "USER_SOCKET", str(tmp_path / "none"))
    running = service(ServiceState.RUNNING, started_s=time.time() - age_s)
    services = SimpleNamespace(names=lambda: ["engine"], status=lambda _: running)
    health = keeper.Health(cast("Boot", SimpleNamespace(services=services)))
    (engine,) = asyncio.run(health._ping_user())
    assert (engine.name, engine.status) == ("user's engine", status)


def test_a_look_that_fails_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        health = Scripted([OK])
        power = SimpleNamespace(requested=cast("str | None", None))
        cast("Any", health._boot).power = power
        monkeypatch.setattr(keeper, "settings", lambda _: SimpleNamespace(interval_s=0))
        looks = 0

        async def evaluate(**_: object) -> Report:
            nonlocal looks
            looks += 1
            if looks == 1:
                raise ValueError("not foreseen")
            power.requested = "reboot"
            return judge((found(OK),), 1.0)

        monkeypatch.setattr(health, "evaluate", evaluate)
        await health.follow()
        assert health.last is not None

    asyncio.run(main())


@pytest.mark.parametrize(
    ("health", "expected"),
    [
        ({}, (120.0, 600.0)),
        ({"settle": "1s", "deadline": "60s"}, (1.0, 60.0)),
        ({"settle": "10m"}, (600.0, 660.0)),
        ({"deadline": "1m"}, (120.0, 180.0)),
        ({"settle": "4s", "deadline": "1s"}, (4.0, 8.0)),
    ],
)
def test_there_is_always_time_to_settle(
    health: dict[str, Any], expected: tuple[float, float]
) -> None:
    found = settings(Configuration({"orlop": {"health": health}}))
    assert (found.settle_s, found.deadline_s) == expected
