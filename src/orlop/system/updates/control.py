"""Updates of the machine that PID 1 runs: one verb at a time, each carried out beside the loop.

What is done to the disks is done by the modules of the verbs, in threads. Here is what they have to
be told about the machine, and what follows: reboots and warnings. `boot_look` is what a boot does.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib.blocking import run_bounded
from orlop.lib.errors import Conflict, Forbidden, NotModified, OrlopError, Unavailable
from orlop.system.config.store import boot_id
from orlop.system.machine import Phase
from orlop.system.power import PowerAction
from orlop.system.services import overlay
from orlop.system.services.overlay import reference
from orlop.system.storage import extras, mirror
from orlop.system.updates import (
    collect,
    esp,
    extras_files,
    interrupted,
    panics,
    report,
    rollback,
    stage,
    trials,
)
from orlop.system.updates.later import DIRECTORY
from orlop.system.updates.ledger import Ledger, adopt, capture
from orlop.system.updates.report import Now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from orlop.system.boot import Boot
    from orlop.system.updates.generations import Generation
    from orlop.system.updates.stage import Candidate
    from orlop.wire.compose_model import Json

log = logging.getLogger(__name__)

READY_LOOK_S = 0.5
REBOOT_DELAY_S = 1.0


class Updates:
    """For the machine of *boot*; what lasts is below *directory*."""

    def __init__(self, boot: Boot, directory: str = DIRECTORY) -> None:
        self._boot = boot
        self.directory = Path(directory)
        self._ledger: Ledger | None = None
        self._verb = ""
        self.fetching = asyncio.Lock()
        """Two who fetch would take each other's files away."""
        self.end_fetch: Callable[[], object] | None = None
        """There while something is fetched that can be given up."""
        self.looking = asyncio.Lock()
        """For who looks for a release: as `fetch.check`."""
        self.is_trial = False
        self.extras_there: set[str] = set()
        """As `extras_files.present`, when the ESP was last looked at."""

    # What is asked.

    def now(self) -> Now:
        """What runs."""
        release = self._boot.machine.release
        return Now(release.get("build", ""), release.get("version", ""), self.is_trial, self._verb)

    async def reading(self) -> Ledger:
        """What is known, to look at.

        Raises:
            Unavailable: nothing is installed here.
        """
        if self._ledger is None:
            async with self.at_work("look", write=False) as (ledger, _):
                return ledger
        return self._ledger

    async def verify(
        self,
        tell: Callable[[dict[str, Json]], None] = lambda _: None,
        *,
        repair: bool = False,
        source: str = "",
    ) -> list[dict[str, Json]]:
        """Whether everything on the disks is what it was; see `verification`."""
        from orlop.system.updates import verification  # here: it is rarely asked for

        return await verification.run(self._boot, tell, repair=repair, source=source)

    @asynccontextmanager
    async def at_work(self, verb: str, *, write: bool = True) -> AsyncIterator[tuple[Ledger, Path]]:
        """The ledger and the ESP for one who does *verb*.

        Raises:
            Conflict: something else is being done. Unavailable: nothing is installed here.
        """
        with self.doing(verb) as device:
            async with esp.mounted(device, write=write) as place:
                yield await asyncio.to_thread(self._open, place, write), place
                if write:
                    for other, text in (await self.remake_lost(device, place)).items():
                        self._boot.machine.warn(f"boot partition {other}: {text}")

    async def remake_lost(self, device: str, place: Path) -> dict[str, str]:
        """Make those boot partitions of the mirror anew whose file system is destroyed, like the
        one that is mounted at *place*: by device, what was done. Never fails."""
        if mirror.of_state(device) is None:
            return {}
        found: dict[str, str] = {}
        try:
            for other in await run_bounded(partial(esp.lost, device), esp.TIMEOUT_S):
                found[other] = "nothing would have started from it, and it cannot be made anew: "
                await self._boot.config.actions.installer.remake_boot_partition(other, place)
                found[other] = "nothing would have started from it: it has been made anew"
        except (OrlopError, OSError, TimeoutError) as error:
            log.error("boot partitions of the mirror: %s", error)
            found = {other: f"{t}{error}" if t.endswith(" ") else t for other, t in found.items()}
        return found

    @contextmanager
    def doing(self, verb: str) -> Iterator[str]:
        """Nobody else does anything in the block; gives where /var is.

        Raises:
            Conflict, Unavailable: as `at_work`.
        """
        device = self.state_device()
        self._verb = verb
        try:
            yield device
        finally:
            self._verb = ""

    def state_device(self) -> str:
        """Where /var is.

        Raises:
            Conflict, Unavailable: as `at_work`.
        """
        if self._verb:
            raise Conflict(f"busy: {self._verb}", hint="orlop os history")
        state = self._boot.machine.state
        if state is not None and state.mode == "disk":
            return state.device
        if self._boot.machine.parameters.recovery:
            raise Unavailable("nothing is updated in recovery mode", hint="orlop reboot")
        raise Unavailable(
            "this system runs from memory: nothing is installed that could be updated",
            hint="orlop install",
        )

    def read_anew(self) -> Ledger:
        """The ledger as it is on the disk. Blocks."""
        self._ledger = Ledger(self.directory, self._boot.config.store)
        return self._ledger

    def _open(self, place: Path, write: bool) -> Ledger:
        ledger = self._ledger or self.read_anew()
        ledger.journal.on_trial = self.is_trial
        if write:
            interrupted.bring_to_end(ledger, place)
        try:
            adopt(ledger, place, self.now().build)
        except OSError:
            self._ledger = None  # a full disk has no first generation: nobody looks at it
            raise
        self.extras_there = extras_files.present(place)
        return ledger

    # What is done.

    async def stage(
        self, candidate: Candidate, source: Path, told: Callable[[int], None]
    ) -> Generation:
        """Make a generation of *source*; *told* has the bytes that are done, of twice the image."""
        loop = asyncio.get_running_loop()

        def tell(done: int) -> None:
            loop.call_soon_threadsafe(told, done)

        async with self.at_work("stage") as (ledger, place):
            for name, version in candidate.services.items():
                image = reference(name, version.digest)
                if version.digest and not self._boot.images.is_there(image):
                    text = f"the image of service {name} was removed meanwhile"
                    raise Conflict(text, hint="once more: orlop os stage")
            work = partial(stage.stage, extras_in_use=extras.in_use())
            made = await asyncio.to_thread(work, ledger, place, candidate, source, tell)
            try:
                await self.forget_images(ledger)  # of services of what this one replaces
            except (OrlopError, OSError) as error:
                log.warning("images of services are not removed: %s", error)
            return made

    async def apply(self, *, now: bool, dry_run: bool, reboot: bool = True) -> dict[str, Json]:
        """Try what is staged, with the next boot, which is at once. *now*: whatever the window.

        Raises:
            NotModified: nothing is staged. Forbidden: updates are held, or the gate is closed.
        """
        self._boot.power.refuse_while_stopping()
        ledger, gate = await self.reading(), self._boot.health.gate
        held = partial(report.held, ledger)
        staged = (await asyncio.to_thread(ledger.generations.standing)).staged
        if staged and await asyncio.to_thread(self._is_services_only, ledger, staged):
            # Nothing reboots: no lock, and nothing is drained.
            if not now and (text := await gate.why(held)):
                raise Forbidden(text)
            return await self._replace_services("apply", staged, dry_run=dry_run)
        if now or not staged:
            return await self._apply(dry_run=dry_run, reboot=reboot)
        if dry_run:
            if text := await gate.why(held):
                raise Forbidden(text)
            return await self._apply(dry_run=True, reboot=reboot)
        to = (await asyncio.to_thread(ledger.generations.read, staged)).image.build
        async with gate.entered("update", held, to, reboots=reboot):
            return await self._apply(dry_run=False, reboot=reboot)

    async def _apply(self, *, dry_run: bool, reboot: bool) -> dict[str, Json]:
        """The same without the gate."""
        self._boot.power.refuse_while_stopping()
        async with self.at_work("apply") as (ledger, place):
            number = (await asyncio.to_thread(ledger.generations.standing)).staged
            if not number:
                raise NotModified("nothing is staged", hint="orlop os stage")
            if text := await asyncio.to_thread(report.held, ledger):
                raise Forbidden(text, hint="orlop os unhold")
            await self._check_data(ledger, number)
            if not dry_run:
                await asyncio.to_thread(self._arm, ledger, place, number)
        if reboot and not dry_run:
            self.reboot_soon(f"update to generation {number}")
        return {"generation": number, "reboot": reboot}

    @staticmethod
    def _is_services_only(ledger: Ledger, number: int) -> bool:
        generations = ledger.generations
        good = generations.read(generations.standing().good)
        return generations.read(number).image == good.image

    async def _replace_services(
        self, verb: str, number: int, *, dry_run: bool, configuration: bool = False
    ) -> dict[str, Json]:
        """Go to generation *number*, whose image runs, without a reboot.

        Raises:
            OrlopError: it was not to be; everything is as before.
        """
        with self.doing(verb) as device:
            async with esp.mounted(device, write=True) as place:
                ledger = await asyncio.to_thread(self._open, place, True)
                before, target = await asyncio.to_thread(self._sides, ledger, verb, number)
            answer = await self._replace(
                verb, ledger, before, target, dry_run=dry_run, configuration=configuration
            )
        if dry_run:
            return answer
        if configuration:
            await self._boot.config.reload()
        if verb == "apply":
            try:
                await self.collect(dry_run=False)
            except NotModified:
                pass
            except (OrlopError, OSError) as error:  # the services are replaced all the same
                log.warning("cannot remove what is not needed any more: %s", error)
        return answer

    @staticmethod
    def _sides(ledger: Ledger, verb: str, number: int) -> tuple[Generation, Generation]:
        """What runs, and generation *number*, which may take its place."""
        if verb == "rollback":
            return rollback.check_target(ledger, number)
        if text := report.held(ledger):
            raise Forbidden(text, hint="orlop os unhold")
        if ledger.generations.standing().staged != number:
            raise Conflict("something else was staged meanwhile", hint="orlop os apply")
        return capture(ledger), ledger.generations.read(number)

    async def _replace(
        self,
        verb: str,
        ledger: Ledger,
        before: Generation,
        target: Generation,
        *,
        dry_run: bool,
        configuration: bool,
    ) -> dict[str, Json]:
        from orlop.system.updates.service_update import Ended, ServiceUpdate

        update = ServiceUpdate(self._boot, ledger, before, target)
        answer: dict[str, Json] = {
            "generation": target.number,
            "reboot": False,
            "services": [*update.changed()],
        }
        if dry_run:
            await update.check()
            return answer
        more: dict[str, Json] = {"configuration": configuration}
        try:
            await update.run(verb, watched=verb == "apply", more=more)
        except Ended:
            raise Conflict("the machine goes down; its next boot puts services back") from None
        return answer

    async def _check_data(self, ledger: Ledger, number: int) -> None:
        """Raises OrlopError: services could not have their data in the format that they know."""
        generations = ledger.generations
        good = (await asyncio.to_thread(generations.read, generations.standing().good)).services
        new = (await asyncio.to_thread(generations.read, number)).services
        if any(version.epoch for version in (*good.values(), *new.values())):
            from orlop.system.services.data import ServiceData

            needs = {**dict.fromkeys(good, 0), **{name: v.epoch for name, v in new.items()}}
            await ServiceData(self._boot, self.directory).check_room(needs)

    def _arm(self, ledger: Ledger, place: Path, number: int) -> None:
        from dataclasses import asdict

        from orlop.system.health.builtin import read_baseline

        image = ledger.generations.read(number).image
        extras_files.require(place, image, extras.in_use())
        capture(ledger)
        panics.take(self.directory)  # an older panic is not the trial's
        trials.arm(ledger, place, number, boot_id(), {"baseline": asdict(read_baseline())})

    async def cancel(self) -> dict[str, Json]:
        """Give up what is being fetched, or take back what `apply` has prepared for the next boot.

        Raises:
            NotModified: nothing is. Conflict: it is on trial already.
        """
        if self.end_fetch is not None:
            self.end_fetch()
            return {"fetch": "given up"}
        async with self.at_work("cancel") as (ledger, place):
            armed = trials.armed(ledger)
            if armed is None:
                raise NotModified("nothing is to be tried")
            if self.is_trial:
                raise Conflict("the trial goes on", hint="orlop reboot ends it")
            await asyncio.to_thread(trials.abandon, ledger, place, armed, "cancelled")
        await self._boot.health.gate.became_good()
        return {"generation": armed.generation}

    async def roll_back(
        self, number: int, *, configuration: bool, dry_run: bool, reboot: bool = True
    ) -> dict[str, Json]:
        """Go back to generation *number*, 0 for the one before.

        Raises:
            NotModified, NotFound, Conflict: as `rollback.roll_back`.
        """
        self._boot.power.refuse_while_stopping()
        async with self.at_work("rollback") as (ledger, place):
            generations = ledger.generations
            standing = await asyncio.to_thread(generations.standing)
            good = await asyncio.to_thread(generations.read, standing.good)
            build = self.now().build
            waits = not self.is_trial and good.image.build != build  # a rollback, for its reboot
            if not number and waits:
                # Who says it twice does not want to go back and forth.
                text = f"generation {good.number} is what the next boot starts already"
                raise NotModified(text, hint="orlop reboot")
            number = number or standing.previous
            if not number:
                raise NotModified("there is no generation before this one")
            target = await asyncio.to_thread(generations.read, number)
            needs_reboot = target.image != good.image
            if waits:  # which is not needed to stay with what runs
                services = await asyncio.to_thread(overlay.read, ledger.services, build)
                needs_reboot = (target.image.build, target.services) != (build, services)
            changes = not waits and not needs_reboot and target.services != good.services
            if needs_reboot:
                await self._check_data(ledger, number)
            if not dry_run and not changes:
                # Once it was good with the extras that there are, whatever it says of itself.
                see = partial(extras_files.require, unknown_is_fine=True)
                await asyncio.to_thread(see, place, target.image, extras.in_use())
                work = partial(rollback.roll_back, configuration=configuration)
                await asyncio.to_thread(work, ledger, place, number)
        if changes:
            return await self._replace_services(
                "rollback", number, dry_run=dry_run, configuration=configuration
            )
        if not dry_run and needs_reboot and reboot:
            self.reboot_soon(f"rollback to generation {number}")
        elif not dry_run and not needs_reboot:
            await self._boot.config.reload()
        return {"generation": number, "reboot": needs_reboot and reboot}

    async def collect(self, *, dry_run: bool) -> dict[str, Json]:
        """Forget what nobody needs."""
        async with self.at_work("gc") as (ledger, place):
            if dry_run:
                numbers = await asyncio.to_thread(collect.plan, ledger)
            else:
                numbers = await asyncio.to_thread(collect.collect, ledger, place)
                await self.forget_images(ledger)
        if not numbers:
            raise NotModified("every generation is needed")
        return {"generations": [*numbers]}

    async def pin(self, number: int, *, pinned: bool) -> dict[str, Json]:
        """Keep generation *number*, or do not."""
        async with self.at_work("pin") as (ledger, _):
            await asyncio.to_thread(collect.set_pin, ledger, number, pinned=pinned)
        return {"generation": number, "pinned": pinned}

    async def hold(self, reason: str | None, until_s: float = 0.0) -> dict[str, Json]:
        """Apply nothing until *until_s*, 0 for ever; None ends that. What was to be tried with the
        next boot is not; a trial that has begun goes on."""
        armed = None
        async with self.at_work("hold") as (ledger, place):
            if reason is not None and not self.is_trial:
                armed = trials.armed(ledger)
            if armed is not None:
                await asyncio.to_thread(trials.abandon, ledger, place, armed, "updates are held")
            found = await asyncio.to_thread(collect.set_hold, ledger, reason, until_s)
        if armed is not None:
            await self._boot.health.gate.became_good()
            found["cancelled"] = armed.generation
        return found

    async def forget_images(self, ledger: Ledger) -> None:
        """Those of services that no generation has any more, and copies of data as well."""
        generations = await asyncio.to_thread(ledger.generations.all)
        if (self.directory / "data").exists():
            from orlop.system.services.data import ServiceData

            needed = {(n, v.epoch) for g in generations for n, v in g.services.items()}
            names = {name for name, _ in needed}
            # Before a release had it, its data was in the format of the image's own.
            needed |= {(n, 0) for g in generations for n in names - {*g.services}}
            await ServiceData(self._boot, self.directory).forget_old(needed)
        await self._boot.images.keep_of_releases(
            reference(name, version.digest)
            for generation in generations
            for name, version in generation.services.items()
        )

    async def ready(self) -> None:
        """Wait until the boot has come to its end."""
        while self._boot.machine.phase is Phase.STARTING:
            await asyncio.sleep(READY_LOOK_S)

    def reboot_soon(self, why: str) -> None:
        """When whoever asked for it has the answer."""

        def reboot() -> None:
            if self._boot.power.requested is None:
                self._boot.power.request(PowerAction.REBOOT, why)

        asyncio.get_running_loop().call_later(REBOOT_DELAY_S, reboot)
