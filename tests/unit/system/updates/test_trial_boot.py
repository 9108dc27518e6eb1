"""The boot that is a trial: whatever happens in it, it comes to an end."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from orlop.engine.tasks import TaskSet
from orlop.lib.errors import Conflict, Internal
from orlop.system.config.configuration import Configuration
from orlop.system.health.builtin import Baseline
from orlop.system.health.plan import Report, Verdict
from orlop.system.updates import boot_look, control, later, trial_boot, trials
from orlop.system.updates.boot_look import BootLook
from orlop.system.updates.decide import Cause
from orlop.system.updates.later import UpdatesLater
from orlop.system.updates.trial_boot import TrialBoot
from tests.unit.system.updates.machine_tree import Tree

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from orlop.system.boot import Boot
    from orlop.system.health.plan import Check
    from orlop.system.updates.control import Updates
    from orlop.system.updates.ledger import Ledger

GREEN, RED = (Report(verdict, "health", "text", ()) for verdict in (Verdict.GREEN, Verdict.RED))


class Power:
    """Notes what is asked of it."""

    def __init__(self) -> None:
        self.requested: object = None
        self.forced = False
        self.request_made = asyncio.Event()
        self.watchdog: Any = SimpleNamespace(until_s=None)

    def request(self, action: object, _why: str, *, force: bool = False) -> None:
        self.requested, self.forced = action, force
        self.request_made.set()


class Trial:
    """A machine of directories in its trial of `b`; *watch* is what health says."""

    def __init__(self, tree: Tree, watch: Callable[..., Any], data: dict[str, object]) -> None:
        self.tree, self.is_trial, self.busy = tree, True, 0
        self.before: Baseline | None = None
        self.more: tuple[Check, ...] = ()
        self.power = Power()
        self.said: list[str] = []
        number = tree.stage("b")
        trials.arm(tree.ledger(), tree.esp, number, tree.boot_id, cast("Any", data))
        tree.boot_loader()
        self.ledger = tree.ledger()
        armed = trials.armed(self.ledger)
        assert armed is not None
        self.armed = armed
        self.said.append(armed.on_trial)

        async def watched(
            _settle: float, _left: float, before: Baseline | None, more: tuple[Check, ...]
        ) -> Report:
            self.before, self.more = before, more
            return cast("Report", await watch(self))

        async def nothing() -> None:
            pass

        self.boot = SimpleNamespace(
            power=self.power,
            config=SimpleNamespace(current=Configuration(data={})),
            machine=SimpleNamespace(
                parameters=SimpleNamespace(watchdog_s=0),
                warn=self.said.append,
                withdraw=self.said.remove,
                channel=SimpleNamespace(send=lambda *_, **__: None),
            ),
            health=SimpleNamespace(
                now=SimpleNamespace(watch=watched), gate=SimpleNamespace(became_good=nothing)
            ),
            tasks=TaskSet(),
        )

    async def ready(self) -> None:
        """At once."""

    async def reading(self) -> Ledger:
        return self.ledger

    @asynccontextmanager
    async def at_work(self, _verb: str) -> AsyncIterator[tuple[Ledger, Path]]:
        if self.busy:
            self.busy -= 1
            raise Conflict("busy: verify")
        yield self.ledger, self.tree.esp

    async def run(self) -> None:
        updates = cast("Updates", self)
        await TrialBoot(cast("Boot", self.boot), updates, self.armed).run()

    def cause(self) -> tuple[Cause | None, str]:
        return trials.read_cause(self.ledger, self.armed)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    monkeypatch.setattr("os.fsync", lambda _: None)
    for name in ("FORCE_AFTER_S", "AGAIN_S"):
        monkeypatch.setattr(trial_boot, name, 0.0)
    return Tree(tmp_path)


def tried(tree: Tree, watch: Callable[..., Any], busy: int = 0, **data: object) -> Trial:
    async def run() -> Trial:
        trial = Trial(tree, watch, data)
        trial.busy = busy
        await trial.run()
        await trial.boot.tasks.close()
        return trial

    return asyncio.run(run())


async def green(_: Trial) -> Report:
    return GREEN


def test_a_good_one_is_promoted_as_soon_as_another_verb_has_ended(tree: Tree) -> None:
    trial = tried(tree, green, busy=50)
    assert trial.power.requested is None
    assert tree.record()[0].default == trial.armed.image
    assert not trial.is_trial
    assert trial.said == [], "it is on trial no longer"


def test_what_an_old_system_knew_of_is_enough(tree: Tree) -> None:
    trial = tried(tree, green, baseline={"route4": True, "clock": True, "tides": True})
    assert trial.before == Baseline(route4=True, clock=True)


def test_what_the_release_wants_checked_is_checked(tree: Tree) -> None:
    [check] = tried(tree, green).more
    assert (check.name, check.required) == ("release: new-b", True)
    assert (check.kind, check.target) == ("state", "new-b")


def test_a_fault_in_the_trial_itself_ends_it(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise ValueError("a setting that is none")

    monkeypatch.setattr(trial_boot, "settings", fail)
    trial = tried(tree, green)
    assert trial.power.forced
    assert trial.cause() == (Cause.HEALTH, "ValueError('a setting that is none')")
    assert tree.record()[0].default != trial.armed.image


def test_a_disk_that_does_not_answer_does_not_keep_it(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = threading.Event()
    monkeypatch.setattr(trial_boot, "WRITE_S", 0.01)
    monkeypatch.setattr(trials, "write_cause", lambda *_: answer.wait())

    async def red(_: Trial) -> Report:
        return RED

    trial = tried(tree, red)
    answer.set()
    assert trial.power.forced
    assert trial.armed.on_trial in trial.said


def test_a_disk_that_takes_nothing_is_no_end_of_the_trial(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise Internal("the record does not hold what was written")

    monkeypatch.setattr(trials, "promote", fail)
    trial = tried(tree, green)
    assert trial.power.forced
    assert trial.cause()[0] is Cause.UNKNOWN


def test_the_watchdog_has_the_deadline_of_the_configuration(tree: Tree) -> None:
    until: list[float] = []

    async def watch(trial: Trial) -> Report:
        until.append(trial.power.watchdog.until_s - time.monotonic())
        return GREEN

    async def run() -> None:
        trial = Trial(tree, watch, {})

        async def ready() -> None:
            trial.boot.config.current = Configuration(
                data={"orlop": {"health": {"deadline": "1000000h"}}}
            )

        cast("Any", trial).ready = ready
        await trial.run()
        await trial.boot.tasks.close()

    asyncio.run(run())
    assert until[0] > 1e9


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_trial_that_cannot_be_looked_after_ends_once(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(later, "LOOK_AGAIN_S", 0.0)
    monkeypatch.setattr(later, "MUCH_LATER_S", 0.0)
    looks: list[str] = []
    monkeypatch.setattr(later, "DIRECTORY", str(tree.state / "os"))
    monkeypatch.setattr(boot_look, "boot_id", lambda: "boot-9")

    async def boot(build: str) -> tuple[object, list[str]]:
        power = Power()
        warned: list[str] = []
        found = SimpleNamespace(
            power=power,
            machine=SimpleNamespace(
                state=SimpleNamespace(mode="disk", device=""),
                release={"build": build},
                parameters=SimpleNamespace(recovery=False),
                warn=warned.append,
            ),
            config=SimpleNamespace(
                store=tree.ledger().config, current=Configuration(data={"orlop": {}})
            ),
            tasks=TaskSet(),
        )
        updates = UpdatesLater(cast("Boot", found))
        made = control.Updates(cast("Boot", found), str(tree.state / "os"))
        updates.__dict__["now"] = made

        async def fail(_: BootLook) -> None:
            looks.append(build)
            if looks.count(build) < 9:
                raise Internal("no such file system: vfat")

        monkeypatch.setattr(BootLook, "look", fail)
        await updates.look()
        while any(t.get_name() == "look after the update" for t in asyncio.all_tasks()):
            await asyncio.sleep(0)
        await found.tasks.close()
        return power.requested, warned

    tree.arm(tree.stage("b"))
    requested, warned = asyncio.run(boot("build-a"))
    assert requested is None, "the old system stays"
    assert looks == ["build-a"] * 9, "and looks until it can"
    assert "vfat" in warned[0]
    assert asyncio.run(boot("build-b"))[0] is not None
    ledger = tree.ledger()
    armed = trials.armed(ledger)
    assert armed is not None
    assert trials.read_cause(ledger, armed)[0] is Cause.HEALTH
    assert asyncio.run(boot("build-b"))[0] is None, "it may be what is booted by now"
    trials.forget_cause(ledger)
    looks.clear()
    monkeypatch.setattr(trials, "write_cause", full)
    assert asyncio.run(boot("build-b"))[0] is None, "nothing would say so the next time"
    assert looks == ["build-b"] * 9
