"""Bringing services up and down, with an engine that has no containers and a clock that is ours."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from orlop.engine.engine import Health, State
from orlop.lib.errors import Internal, NotFound, NotModified
from orlop.system.services.services import Services, ServiceState
from orlop.wire.compose import ServiceDefinition, parse_service
from tests.unit.system.fake_engine import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Bench:
    """A `Services` with everything around it."""

    def __init__(self, **data: dict[str, Any]) -> None:
        self.engine = FakeEngine()
        self.refusals: dict[str, tuple[ServiceState, str]] = {}
        self.reports: list[tuple[str, ServiceState]] = []
        self.prepared: list[str] = []
        self.is_online = asyncio.Event()
        self.definitions = {name: parse_service(name, value) for name, value in data.items()}
        self.services = Services(
            self.engine,
            may_start=lambda definition: self.refusals.get(definition.name),
            prepare=self._prepare,
            report=lambda name, state: self.reports.append((name, state)),
            online=self._wait_online,
            delays_s=(0.001,),
        )
        self.problems = self.services.define(self.definitions, {})

    async def _wait_online(self) -> bool:
        return await self.is_online.wait()

    def _prepare(self, definition: ServiceDefinition) -> None:
        self.prepared.append(definition.name)

    def states(self) -> dict[str, str]:
        return {status.name: status.state.value for status in self.services.statuses()}

    async def start(self) -> None:
        self.services.watch()
        self.services.start_all()
        async with asyncio.timeout(5):
            await self.services.settled()


def run(bench: Bench, scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        try:
            await scenario()
        finally:
            await bench.services.close()

    asyncio.run(main(), debug=True)


def needs(
    name: str, condition: str = "service_started", *, required: bool = True
) -> dict[str, Any]:
    return {"depends_on": {name: {"condition": condition, "required": required}}}


def test_in_order_of_dependency() -> None:
    bench = Bench(web=needs("network"), network={}, syslog={"x-orlop": {"stage": "early"}})

    async def scenario() -> None:
        await bench.start()
        starts = [call for call in bench.engine.calls if call.startswith("start")]
        assert starts == ["start syslog", "start network", "start web"]
        assert set(bench.states().values()) == {"running"}
        assert bench.prepared == ["syslog", "network", "web"]
        assert ("web", ServiceState.RUNNING) in bench.reports

    run(bench, scenario)


def test_refused_ones_and_those_that_need_them() -> None:
    bench = Bench(ssh={}, shell=needs("ssh"), other=needs("ssh", required=False), off={})
    bench.refusals = {
        "ssh": (ServiceState.SKIPPED, "needs a key"),
        "off": (ServiceState.DISABLED, "switched off"),
    }

    async def scenario() -> None:
        await bench.start()
        expected = {"ssh": "skipped", "shell": "failed", "other": "running", "off": "disabled"}
        assert bench.states() == expected
        reason = bench.services.status("shell").reason
        assert reason == "depends on ssh, which is not started (needs a key)"

    run(bench, scenario)


def test_a_failing_start_is_tried_again_and_dependents_follow() -> None:
    bench = Bench(base={}, web=needs("base"))
    bench.engine.broken["base"] = Internal("no memory")

    async def scenario() -> None:
        await bench.start()
        # It may be at its next attempt by now.
        assert ("base", ServiceState.FAILED) in bench.reports
        assert bench.states()["web"] == "waiting"
        assert bench.services.status("web").reason == "waits for base, which has failed"
        bench.engine.broken.clear()
        async with asyncio.timeout(5):
            while bench.states() != {"base": "running", "web": "running"}:
                await asyncio.sleep(0.001)

    run(bench, scenario)


@pytest.mark.parametrize(("code", "state"), [(0, "running"), (3, "failed")])
def test_waiting_for_completion(code: int, state: str) -> None:
    bench = Bench(once={}, after=needs("once", "service_completed_successfully"))
    bench.engine.exit_codes["once"] = code

    async def scenario() -> None:
        await bench.start()
        assert bench.states() == {"once": "done" if code == 0 else "failed", "after": state}
        if code:
            reason = bench.services.status("after").reason
            assert reason == "depends on once, which ended with status 3"

    run(bench, scenario)


@pytest.mark.parametrize(("healthy", "state"), [(True, "running"), (False, "failed")])
def test_waiting_for_health(healthy: bool, state: str) -> None:
    bench = Bench(db={}, web=needs("db", "service_healthy"))
    if not healthy:
        bench.engine.unhealthy.add("db")

    async def scenario() -> None:
        await bench.start()
        assert bench.states() == {"db": "running", "web": state}

    run(bench, scenario)


def test_cycles_are_reported_and_the_rest_runs() -> None:
    bench = Bench(a=needs("b"), b=needs("a"), c={})
    assert bench.problems == [
        "service a depends on itself: a -> b -> a",
        "service b depends on itself: a -> b -> a",
    ]

    async def scenario() -> None:
        await bench.start()
        assert bench.states() == {"a": "failed", "b": "failed", "c": "running"}

    run(bench, scenario)


def test_what_the_engine_says_becomes_the_status() -> None:
    bench = Bench(web={})

    async def scenario() -> None:
        await bench.start()
        change = bench.engine.change
        change("web", "die", state=State.RESTARTING, exit_code=9, restart_count=2)
        status = bench.services.status("web")
        assert status.state is ServiceState.STARTING
        assert status.reason == "ended with status 9, will be restarted"
        assert status.restarts == 2
        change("web", "start", state=State.RUNNING, health=Health.UNHEALTHY)
        assert bench.services.status("web").reason == "does not pass its health check"
        change("web", "die", state=State.EXITED, exit_code=1)
        assert bench.services.status("web").state is ServiceState.FAILED
        await asyncio.sleep(0)
        assert bench.reports[-1] == ("web", ServiceState.FAILED)

    run(bench, scenario)


def test_on_request() -> None:
    bench = Bench(web={})

    async def scenario() -> None:
        await bench.start()
        with pytest.raises(NotModified):
            await bench.services.start("web")
        await bench.services.stop("web")
        assert bench.states() == {"web": "stopped"}
        with pytest.raises(NotModified):
            await bench.services.stop("web")
        await bench.services.restart("web")
        assert bench.states() == {"web": "running"}
        with pytest.raises(NotFound):
            await bench.services.stop("nobody")

    run(bench, scenario)


def test_changed_configuration() -> None:
    bench = Bench(
        a={"x-orlop": {"config": "reload"}},
        b={"x-orlop": {"config": True}},
        c={},
        ssh={},
    )
    bench.refusals["ssh"] = (ServiceState.SKIPPED, "needs a key")

    async def scenario() -> None:
        await bench.start()
        bench.engine.calls.clear()
        bench.refusals = {"c": (ServiceState.DISABLED, "switched off")}
        await bench.services.configuration_changed(["a", "b", "ssh"])
        async with asyncio.timeout(5):
            while bench.states()["c"] != "disabled" or bench.states()["ssh"] != "running":
                await asyncio.sleep(0.001)
        assert bench.engine.calls[:4] == ["tell a SIGHUP", "stop b", "create b", "start b"]
        assert "start ssh" in bench.engine.calls
        assert "stop c" in bench.engine.calls
        assert "stop a" not in bench.engine.calls

    run(bench, scenario)


def test_taking_over_after_a_reexecution() -> None:
    bench = Bench(web=needs("base"), base={}, once={}, stopped={})

    async def scenario() -> None:
        for name in ("web", "once"):
            await bench.engine.create(_config(bench, name))
            await bench.engine.start_container(name)
        bench.engine.change("once", "die", state=State.EXITED)
        bench.engine.calls.clear()
        bench.services.adopt()
        bench.services.mark_stopped(["stopped", "unknown"])
        await bench.start()
        assert bench.engine.calls == ["create base", "start base"]
        expected = {"web": "running", "base": "running", "once": "done", "stopped": "stopped"}
        assert bench.states() == expected

    run(bench, scenario)


def test_what_was_asked_for_goes_on_after_a_reexecution() -> None:
    """It stays although it is not enabled, and is started anew when it is described otherwise."""
    bench = Bench(web={"command": ["one"]})
    bench.refusals["web"] = (ServiceState.DISABLED, "not enabled")

    async def scenario() -> None:
        await bench.engine.create(_config(bench, "web"))
        await bench.engine.start_container("web")
        bench.services.adopt()
        await bench.services.configuration_changed([])
        await asyncio.sleep(0)
        assert bench.states() == {"web": "running"}
        assert not bench.services.is_outdated("web")
        bench.services.define({"web": parse_service("web", {"command": ["two"]})}, {})
        assert bench.services.is_outdated("web")

    run(bench, scenario)


def _config(bench: Bench, name: str) -> Any:
    from orlop.engine.container.config import from_service

    return from_service(bench.definitions[name])


def test_what_was_stopped_is_not_outdated() -> None:
    bench = Bench(web={"command": ["one"]})

    async def scenario() -> None:
        await bench.start()
        changed = {"web": parse_service("web", {"command": ["two"]})}
        assert not bench.services.is_outdated("web")
        bench.services.define(changed, {})
        assert bench.services.is_outdated("web")
        await bench.services.stop("web")
        assert not bench.services.is_outdated("web")

    run(bench, scenario)


def test_stopping_in_reverse_order_in_parallel() -> None:
    bench = Bench(
        web=needs("base"), app=needs("base"), base={}, log={"x-orlop": {"stage": "early"}}
    )
    bench.engine.stop_delays_s = {"web": 0.02, "app": 0.01}

    async def scenario() -> None:
        await bench.start()
        bench.engine.calls.clear()
        await bench.services.stop_all(asyncio.Event())
        # Which of the two that depend on `base` ends first is up to the machine.
        assert sorted(bench.engine.calls[:2]) == ["stop app", "stop web"]
        assert bench.engine.calls[2:] == ["stop base", "stop log"]

    run(bench, scenario)


def test_stopping_ends_when_forced() -> None:
    bench = Bench(web={})
    bench.engine.stop_delays_s = {"web": 1000}

    async def scenario() -> None:
        await bench.start()
        force = asyncio.Event()
        asyncio.get_running_loop().call_later(0.01, force.set)
        async with asyncio.timeout(5):
            await bench.services.stop_all(force)
        assert bench.states() == {"web": "running"}

    run(bench, scenario)


def test_a_fault_with_one_service_is_shown_and_keeps_no_other_from_starting() -> None:
    names = ("conditions", "files", "engine", "fine")
    bench = Bench(**{name: {} for name in names}, after=needs("conditions", required=False))
    bench.engine.broken["engine"] = RuntimeError("a bug")
    look_up, prepare = bench.services._may_start, bench._prepare

    def may_start(definition: ServiceDefinition) -> tuple[ServiceState, str] | None:
        if definition.name == "conditions":
            raise KeyError("nobody expects this")
        return look_up(definition)

    def prepare_all_but_one(definition: ServiceDefinition) -> None:
        if definition.name == "files":
            raise OSError(28, "No space left on device")
        prepare(definition)

    bench.services._delays_s = (1000.0,)
    bench.services._may_start = may_start
    bench.services._prepare = prepare_all_but_one

    async def scenario() -> None:
        await bench.start()
        reasons = {status.name: status.reason for status in bench.services.statuses()}
        assert bench.states() == dict.fromkeys(names, "failed") | {
            "fine": "running",
            "after": "running",
        }
        assert "nobody expects this" in reasons["conditions"]
        assert "No space left" in reasons["files"]
        assert "a bug" in reasons["engine"]

    run(bench, scenario)


def test_who_needs_the_network_waits_for_it_and_nobody_else_does() -> None:
    on_network = {"network": {"condition": "service_healthy"}}
    bench = Bench(
        network={"image": "a"},
        web={"image": "a", "depends_on": on_network},
        other={"image": "a", "depends_on": ["network"]},
    )

    async def scenario() -> None:
        await bench.start()
        assert bench.states() == {"network": "running", "web": "waiting", "other": "running"}
        assert bench.services.status("web").reason == "waits for the network"
        bench.is_online.set()
        async with asyncio.timeout(60):
            await bench.services.wait_up("web")

    run(bench, scenario)
