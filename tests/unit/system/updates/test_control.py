"""The verbs as PID 1 carries them out: one at a time, held, gated, and what a boot does first."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from orlop.engine.tasks import TaskSet
from orlop.lib.errors import Conflict, Forbidden, NotModified, Unavailable
from orlop.system.config.configuration import Configuration
from orlop.system.services.overlay import ServiceVersion, reference
from orlop.system.storage import mirror
from orlop.system.updates import (
    bad,
    boot_look,
    control,
    decide,
    esp,
    hold,
    offers,
    panics,
    report,
    trials,
)
from orlop.system.updates.bad import Bad
from orlop.system.updates.boot_look import BootLook
from orlop.system.updates.control import Updates
from tests.unit.system.updates.machine_tree import Tree, content, extras, extras_digest, image

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from pathlib import Path

    from orlop.system.boot import Boot


class Power:
    def __init__(self) -> None:
        self.requested: object = None

    def request(self, action: object, _why: str) -> None:
        self.requested = action

    def refuse_while_stopping(self) -> None:
        if self.requested is not None:
            raise Unavailable("the machine is going down")


class Images:
    """Of services."""

    def __init__(self) -> None:
        self.there, self.kept = set[str](), set[str]()

    def is_there(self, image: str) -> bool:
        return image in self.there

    async def keep_of_releases(self, images: Iterable[str]) -> None:
        self.kept = {*images}


class Machine:
    """On the directories of *tree*; *meanwhile* happens while containers are drained."""

    def __init__(self, tree: Tree, meanwhile: Callable[[Machine], Awaitable[None]] | None) -> None:
        self.tree, self.power, self.warned = tree, Power(), list[str]()
        self.calls: list[str] = []
        self.to, self.gate_is_closed = "", 0
        self.images, self.reloads = Images(), 0
        outer = self

        class Gate:
            @asynccontextmanager
            async def entered(
                self, _purpose: str, held: Callable[[], str], to: str, *, reboots: bool = True
            ) -> AsyncIterator[None]:
                outer.calls.append("gate")
                outer.to = to
                if text := held():
                    raise Forbidden(text)
                if meanwhile is not None:
                    await meanwhile(outer)
                yield

            async def why(self, held: Callable[[], str]) -> str:
                outer.gate_is_closed -= 1
                return held() or ("closed" if outer.gate_is_closed > 0 else "")

            async def became_good(self) -> None:
                outer.calls.append("good")

        boot = SimpleNamespace(
            power=self.power,
            updates=SimpleNamespace(now=None),
            machine=SimpleNamespace(
                phase=None,
                state=SimpleNamespace(mode="disk", device=""),
                release={"build": tree.running},
                warn=self.warned.append,
            ),
            config=SimpleNamespace(
                store=tree.ledger().config,
                current=Configuration(data={"orlop": {}}),
                reload=self.reload,
            ),
            health=SimpleNamespace(gate=Gate()),
            tasks=TaskSet(),
            images=self.images,
        )
        self.updates = Updates(cast("Boot", boot), str(tree.state / "os"))
        boot.updates.now = self.updates
        boot.config.current = Configuration(data={"orlop": {"update": {"source": "/nowhere"}}})
        self.look = BootLook(cast("Boot", boot), self.updates)

    async def reload(self) -> None:
        self.reloads += 1


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    found = Tree(tmp_path)

    @asynccontextmanager
    async def mounted(_device: str, *, write: bool) -> AsyncIterator[Path]:
        assert isinstance(write, bool)
        yield found.esp

    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setattr(esp, "mounted", mounted)
    monkeypatch.setattr(panics, "take", lambda _: False)
    monkeypatch.setattr(control, "boot_id", lambda: found.boot_id)
    return found


def on(
    tree: Tree,
    work: Callable[[Machine], Awaitable[Any]],
    meanwhile: Callable[[Machine], Awaitable[None]] | None = None,
) -> Machine:
    async def main() -> Machine:
        machine = Machine(tree, meanwhile)
        await work(machine)
        return machine

    return asyncio.run(main())


async def apply(machine: Machine) -> None:
    found = await machine.updates.apply(now=False, dry_run=False, reboot=False)
    assert found == {"generation": 2, "reboot": False}
    assert machine.to == "build-b", "canaries and outcomes are counted by it"


def test_apply_arms_what_is_staged(tree: Tree) -> None:
    tree.stage("b")
    assert on(tree, apply).calls == ["gate"]
    assert tree.record()[0].trial == image("b").id
    machine = on(tree, lambda machine: machine.updates.cancel())
    assert machine.calls == ["good"]
    assert tree.record()[0].trial == ""
    tree.check()


@pytest.mark.parametrize("revoked", [True, False])
def test_a_trial_that_was_cut_off_is_not_tried_again_if_it_was_revoked(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, revoked: bool
) -> None:
    tree.arm(tree.stage("b"))
    tree.boot_loader()
    tree.boot_loader()
    armed = trials.armed(tree.ledger())
    assert armed is not None

    async def ask_again(boot: Boot) -> None:
        if revoked:
            ledger = await boot.updates.now.reading()
            trials.abandon(ledger, tree.esp, armed, "release 2.0 is revoked")

    async def work(machine: Machine) -> None:
        machine.gate_is_closed = 2
        await machine.look._try_again(armed)

    monkeypatch.setattr(offers, "ask_again", ask_again)
    monkeypatch.setattr(boot_look, "AGAIN_S", 0.0)
    monkeypatch.setattr(boot_look, "boot_id", lambda: tree.boot_id)
    on(tree, work)
    again = trials.armed(tree.ledger())
    assert again is None if revoked else again is not None
    assert again is None or again.attempt == 2


def test_services_of_what_was_staged_before_are_not_replaced(tree: Tree) -> None:
    tree.stage_services()

    async def work(machine: Machine) -> None:
        with pytest.raises(Conflict, match="staged meanwhile"):
            await machine.updates._replace_services("apply", 1, dry_run=True)
        assert machine.updates.now().verb == ""

    on(tree, work)


def test_images_of_services_that_are_replaced_go(tree: Tree) -> None:
    """A machine whose owner never applies what is staged keeps those of one release."""

    async def work(machine: Machine) -> None:
        for sequence, name in enumerate("bc", 2):
            version = ServiceVersion(f"sha256:{name * 64}")
            candidate = replace(tree.candidate(name, sequence), services={"time": version})
            source = tree.incoming / name
            source.write_bytes(content(name))
            source.with_name(extras_digest(name)).write_bytes(extras(name))
            image = reference("time", version.digest)
            with pytest.raises(Conflict, match="service time was removed meanwhile"):
                await machine.updates.stage(candidate, source, lambda _: None)
            machine.images.there = {image}
            await machine.updates.stage(candidate, source, lambda _: None)
            assert machine.images.kept == {image}

    on(tree, work)


@pytest.mark.parametrize("cause", ["health", bad.LEFT])
def test_a_person_may_try_what_is_left_alone(tree: Tree, cause: str) -> None:
    tree.stage("b")
    tree.ledger().set_bad({image("b").sha256: Bad(1, 0.0, 2, cause)})
    on(tree, apply)
    assert trials.armed(tree.ledger()) is not None


@pytest.mark.parametrize("now", [False, True])
def test_a_hold_is_absolute(tree: Tree, now: bool) -> None:
    tree.stage("b")

    async def work(machine: Machine) -> None:
        await machine.updates.hold("a fair")
        with pytest.raises(Forbidden, match="held: a fair"):
            await machine.updates.apply(now=now, dry_run=False)
        await machine.updates.hold(None)
        await machine.updates.apply(now=now, dry_run=True)

    on(tree, work)
    assert tree.record()[0].trial == ""


def test_a_hold_takes_back_what_the_next_boot_was_to_try(tree: Tree) -> None:
    tree.stage("b")

    async def work(machine: Machine) -> None:
        await apply(machine)
        await machine.updates.pin(2, pinned=True)
        with pytest.raises(Conflict) as caught:
            await machine.updates.roll_back(1, configuration=True, dry_run=False)
        assert caught.value.hint == "orlop os cancel"
        found = await machine.updates.hold("a fair")
        assert (found["held"], found["cancelled"]) == (True, 2)

    assert on(tree, work).calls == ["gate", "good"]
    assert tree.record()[0].trial == ""
    assert tree.ledger().generations.standing().staged == 2
    assert tree.ledger().generations.pins() == {2}
    tree.check()


def test_a_hold_in_a_trial_is_for_what_comes_after_it(tree: Tree) -> None:
    tree.arm(tree.stage("b"))
    tree.boot_loader()

    async def work(machine: Machine) -> None:
        machine.updates.is_trial = True
        await machine.updates.pin(1, pinned=True)
        assert "cancelled" not in await machine.updates.hold("a fair")
        with pytest.raises(Conflict, match="generation 2 is on trial") as caught:
            await machine.updates.roll_back(1, configuration=True, dry_run=False)
        assert "orlop reboot ends it" in str(caught.value.hint)

    on(tree, work)
    assert isinstance(tree.come_up(), decide.BeginTrial)
    found = report.held(tree.ledger()), tree.ledger().generations.pins()
    assert found == ("updates are held: a fair", {1})
    tree.check()


def test_a_hold_while_containers_are_drained(tree: Tree) -> None:
    tree.stage("b")

    async def hold(machine: Machine) -> None:
        await machine.updates.hold("")

    async def work(machine: Machine) -> None:
        with pytest.raises(Forbidden, match="held"):
            await apply(machine)

    on(tree, work, hold)
    assert tree.record()[0].trial == ""


def test_a_shutdown_while_containers_are_drained(tree: Tree) -> None:
    tree.stage("b")

    async def end(machine: Machine) -> None:
        machine.power.request("poweroff", "a person")

    async def work(machine: Machine) -> None:
        with pytest.raises(Unavailable, match="going down"):
            await apply(machine)

    on(tree, work, end)
    assert tree.record()[0].trial == ""


def test_one_at_a_time(tree: Tree) -> None:
    async def work(machine: Machine) -> None:
        async with machine.updates.at_work("verify", write=False):
            with pytest.raises(Conflict, match="busy: verify"):
                await machine.updates.collect(dry_run=True)
            with pytest.raises(Conflict, match="busy: verify"):
                await machine.look.look()
        with pytest.raises(NotModified):
            await machine.updates.collect(dry_run=True)

    on(tree, work)


def test_a_disk_that_does_not_answer_does_not_keep_a_boot(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    answer = threading.Event()
    monkeypatch.setattr(boot_look, "LOOK_S", 0.01)

    async def work(machine: Machine) -> None:
        monkeypatch.setattr(machine.look, "_look", lambda _: answer.wait())
        with pytest.raises(TimeoutError):
            await machine.look.look()
        assert machine.updates.now().verb == ""

    on(tree, work)
    answer.set()


def test_a_rollback_does_not_need_a_gate(tree: Tree) -> None:
    tree.arm(tree.stage("b"))
    tree.until_quiet()

    async def work(machine: Machine) -> None:
        found = await machine.updates.roll_back(0, configuration=True, dry_run=False, reboot=False)
        assert found == {"generation": 1, "reboot": False}

    assert on(tree, work).calls == []
    assert tree.record()[0].default == image("a").id


def test_a_rollback_that_waits_for_its_reboot_is_not_taken_back_by_another(tree: Tree) -> None:
    tree.arm(tree.stage("b"))
    tree.until_quiet()

    async def work(machine: Machine) -> None:
        back = partial(machine.updates.roll_back, configuration=True, dry_run=False, reboot=False)
        await back(0)
        with pytest.raises(NotModified, match="generation 1 is what the next boot starts"):
            await back(0)
        assert await back(2) == {"generation": 2, "reboot": False}  # who names it means it

    on(tree, work)
    assert tree.record()[0].default == image("b").id


def test_who_takes_a_rollback_back_before_its_reboot_stays_with_what_runs(tree: Tree) -> None:
    tree.arm(tree.stage("b"))
    tree.until_quiet()
    tree.replace_services(tree.stage_services(3, image_of="b"))
    ran = tree.services()

    async def work(machine: Machine) -> None:
        back = partial(machine.updates.roll_back, configuration=True, dry_run=False)
        preview = partial(machine.updates.roll_back, configuration=True, dry_run=True)
        assert (await back(1, reboot=False))["generation"] == 1
        # Generation 2 has the image that runs, and other services.
        assert (await preview(2))["reboot"] is True
        assert await back(3) == {"generation": 3, "reboot": False}

    machine = on(tree, work)
    assert machine.power.requested is None
    assert machine.reloads == 1
    assert (tree.record()[0].default, tree.services()) == (image("b").id, ran)
    tree.check()


def test_a_hold_is_seen_while_nothing_is_staged_and_ends_by_itself(tree: Tree) -> None:
    async def work(machine: Machine) -> None:
        await machine.updates.hold("a fair", time.time() + 3600)
        ledger, now = await machine.updates.reading(), machine.updates.now()
        assert "a fair" in report.why(ledger, now)
        assert report.status(ledger, now)["hold"]
        hold.write(ledger.directory, hold.Hold("a fair", 1.0, 2.0))
        assert report.why(ledger, now) == "nothing is staged"
        assert report.status(ledger, now)["hold"] is None

    on(tree, work)


def test_a_hold_that_cannot_be_read_is_one(tmp_path: Path) -> None:
    (tmp_path / "hold.json").write_bytes(b"\0\0\0")
    found = hold.read(tmp_path)
    assert found is not None
    assert found.holds(1e12)
    hold.write(tmp_path, None)
    assert hold.read(tmp_path) is None


@pytest.mark.parametrize("error", ["", "the disk is broken"])
def test_a_destroyed_boot_partition_is_made_anew_and_told_of(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    remade: list[tuple[str, Path]] = []

    async def remake(device: str, place: Path) -> None:
        remade.append((device, place))
        if error:
            raise Unavailable(error)

    async def work(machine: Machine) -> None:
        boot = cast("Any", machine.updates)._boot
        installer = SimpleNamespace(remake_boot_partition=remake)
        boot.config.actions = SimpleNamespace(installer=installer)
        boot.engine = SimpleNamespace(layered=None)
        async with machine.updates.at_work("look", write=False):
            pass
        assert remade == []
        rows = await machine.updates.verify()
        assert remade == [("/dev/vdb2", tree.esp)]
        [row] = [row for row in rows if row["what"] == "boot partition /dev/vdb2"]
        assert not row["ok"]
        async with machine.updates.at_work("equalise"):
            assert machine.warned == []
        assert machine.warned == [f"boot partition /dev/vdb2: {row['problem']}"]
        assert (error or "has been made anew") in machine.warned[0]

    async def alike(_: str) -> dict[str, str]:
        return {"/dev/vdb2": ""}

    monkeypatch.setattr(mirror, "of_state", lambda _: object())
    monkeypatch.setattr(esp, "lost", lambda _: ["/dev/vdb2"])
    monkeypatch.setattr(esp, "mend_others", alike)
    on(tree, work)
