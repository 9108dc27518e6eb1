"""What a boot does about an update that is under way: brings it to its end, or begins the trial."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from orlop.lib.blocking import run_bounded
from orlop.lib.errors import Conflict, OrlopError
from orlop.system.config.store import boot_id
from orlop.system.power import PowerAction
from orlop.system.updates import decide, esp, interrupted, panics, report, service_changes, trials
from orlop.system.updates.journal import Status
from orlop.system.updates.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.system.boot import Boot
    from orlop.system.updates.control import Updates

log = logging.getLogger(__name__)

AGAIN_S = 10.0
"""How often it is looked whether a trial that was cut off may begin again."""
LOOK_S = 120.0
"""For the disks: one that does not answer must not keep the boot."""


class BootLook:
    """For the machine of *boot*, whose updates are *updates*."""

    def __init__(self, boot: Boot, updates: Updates) -> None:
        self._boot, self._updates = boot, updates
        self._interrupted = 0
        """The change of services that was found interrupted."""

    async def look(self) -> None:
        """Bring to its end what was interrupted; begin the trial if this is one."""
        machine, updates = self._boot.machine, self._updates
        with updates.doing("look") as device:
            async with esp.mounted(device, write=True) as place:
                found = await run_bounded(partial(self._look, place), LOOK_S)
                await self._forget_replaced()
            if found is None:
                await esp.give_back_clusters(device)
        if found is None:
            return
        armed, action = found
        match action:
            case decide.BeginTrial():
                from orlop.system.updates.trial_boot import TrialBoot

                updates.is_trial = True
                machine.warn(armed.on_trial)
                self._boot.tasks.start(TrialBoot(self._boot, updates, armed).run(), "trial")
            case decide.Rearm(cause):
                machine.warn(
                    f"the trial of generation {armed.generation} was ended ({cause.value}), "
                    "it is tried again"
                )
                self._boot.tasks.start(self._try_again(armed), "trial again")
            case decide.Condemn(cause):
                text = f"generation {armed.generation} was bad: {cause.value}"
                machine.warn(f"{text}; it is back")
                self._boot.tasks.start(self._boot.health.gate.became_bad(text), "reboot lock")
            case decide.Disarm(why):
                machine.warn(f"generation {armed.generation} was not tried: {why}")
            case decide.AwaitReboot() | decide.FinishPromotion():
                pass

    async def _forget_replaced(self) -> None:
        """What was being replaced when this program was executed anew is started as it was."""
        if not self._interrupted or not self._boot.machine.reexecutions:
            return
        ledger = await self._updates.reading()
        change = ledger.journal.changes[self._interrupted]
        if change.status is not Status.DONE:
            from orlop.system.updates.service_update import forget_interrupted

            await forget_interrupted(self._boot, service_changes.names(change))

    async def give_up(self, why: str) -> None:
        """This boot cannot look after the update. If it is a trial that would never end: go back.

        It may also be the new system after a promotion that was interrupted; so a cause is written
        down, and where there is one already nothing is done: there is no second time.
        """

        def work() -> bool:
            ledger = Ledger(self._updates.directory, self._boot.config.store)
            armed = trials.armed(ledger)
            build = self._updates.now().build
            if armed is None or armed.build != build or armed.boot_id == boot_id():
                return False
            if trials.read_cause(ledger, armed)[0] is not None:
                return False
            trials.write_cause(ledger, armed, decide.Cause.HEALTH, why)
            return True

        if await run_bounded(work, LOOK_S) and self._boot.power.requested is None:
            self._boot.power.request(PowerAction.REBOOT, f"the trial cannot be looked after: {why}")

    def _look(self, place: Path) -> tuple[decide.Armed, decide.Action] | None:
        ledger = self._updates.read_anew()
        change = ledger.journal.unfinished()
        if change is not None and service_changes.is_one(change):
            self._interrupted = change.number
        panicked = panics.take(self._updates.directory)
        boot = interrupted.Boot(self._updates.now().build, boot_id(), panicked)
        return interrupted.look(ledger, place, boot)

    async def _try_again(self, armed: decide.Armed) -> None:
        """When this boot has come up and the gate is open: what the machine is for comes first."""
        await self._updates.ready()
        await self._ask_again()
        while self._boot.power.requested is None:
            ledger = await self._updates.reading()
            if (now := trials.armed(ledger)) is None or now.change != armed.change:
                return  # somebody has cancelled it
            try:
                held = partial(report.held, ledger)
                async with (
                    self._boot.health.gate.entered("update", held, armed.build),
                    self._updates.at_work("apply again") as (ledger, place),
                ):
                    await asyncio.to_thread(trials.rearm, ledger, place, armed, boot_id())
            except (OrlopError, OSError) as error:
                log.info("generation %d is not tried again yet: %s", armed.generation, error)
                await asyncio.sleep(AGAIN_S)
            else:
                self._updates.reboot_soon(f"generation {armed.generation} is tried again")
                return

    async def _ask_again(self) -> None:
        """Once the gate is open: whether what was cut off still is to be tried."""
        if not self._boot.config.current.get("orlop.update.source"):
            return
        from orlop.system.updates import offers

        held = partial(report.held, await self._updates.reading())
        while self._boot.power.requested is None and await self._boot.health.gate.why(held):
            await asyncio.sleep(AGAIN_S)
        with suppress(Conflict):
            await offers.ask_again(self._boot)
