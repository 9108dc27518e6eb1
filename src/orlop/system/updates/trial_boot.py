"""This boot is a trial: it ends by being good, or by the old system's return, in bounded time.

PID 1 decides, from the health of host, services and what the machine's owner has declared. Until
then the watchdog is petted within the deadline only: a system whose decision never comes is reset,
and the boot loader starts the old one. Whatever ends the trial is written down before it ends.
"""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import TYPE_CHECKING

from orlop.lib.blocking import run_bounded
from orlop.lib.errors import Conflict, OrlopError
from orlop.system import watchdog
from orlop.system.boot_channel import uptime_s
from orlop.system.health.builtin import Baseline
from orlop.system.health.plan import Verdict, of_release, settings
from orlop.system.power import PowerAction
from orlop.system.updates import collect, trials
from orlop.system.updates.decide import Cause

if TYPE_CHECKING:
    from orlop.system.boot import Boot
    from orlop.system.health.plan import Report
    from orlop.system.updates.control import Updates
    from orlop.system.updates.decide import Armed

log = logging.getLogger(__name__)

FORCE_AFTER_S = 20.0
"""A system that is not good has this long for an orderly end."""
GRACE_S = 60.0
"""From the deadline to the reset by the watchdog: time to write down the cause and to reboot."""
PROMOTE_ATTEMPTS, AGAIN_S = 5, 3.0
BUSY_S = 300.0
"""So long another verb may take."""
WRITE_S = 30.0
"""For a disk to take what is written down; one that does not answer must not keep the trial."""
SOFTDOG = ("/usr/sbin/modload", "softdog")
MODLOAD_TIMEOUT_S = 20.0


class TrialBoot:
    """The trial that *armed* asks for."""

    def __init__(self, boot: Boot, updates: Updates, armed: Armed) -> None:
        self._boot, self._updates, self._armed = boot, updates, armed

    async def run(self) -> None:
        """Watch, decide, act; whatever goes wrong with that is the fault of this system."""
        try:
            await self._run()
        except Exception as error:
            log.exception("the trial")
            if self._updates.is_trial:
                await self._go_back(Cause.HEALTH, repr(error))

    async def _run(self) -> None:
        await self._guard()
        watching = asyncio.ensure_future(self._watch())
        ending = asyncio.ensure_future(self._boot.power.request_made.wait())
        await asyncio.wait((watching, ending), return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if not watching.done():
            watching.cancel()
            await self._note(Cause.USER, "the machine was ended during the trial")
            return
        report = watching.result()
        if report.verdict is Verdict.GREEN:
            await self._promote()
        else:
            late = report.code == Cause.DEADLINE.value
            await self._go_back(Cause.DEADLINE if late else Cause.HEALTH, report.text)

    async def _watch(self) -> Report:
        """Begins when the boot has come to its end, or has had its time."""
        wanted = settings(self._boot.config.current)
        try:
            async with asyncio.timeout(max(1.0, wanted.deadline_s - uptime_s())):
                await self._updates.ready()
        except TimeoutError:
            pass  # the checks say what is missing
        wanted = settings(self._boot.config.current)
        self._set_deadline()  # the configuration was not there yet, which has it
        left_s = max(1.0, wanted.deadline_s - uptime_s())
        ledger = await self._updates.reading()
        baseline = ledger.journal.changes[self._armed.change].data.get("baseline")
        before = None
        if isinstance(baseline, dict):  # of the old system, which may know others
            before = Baseline(*(baseline.get(k) is True for k in ("route4", "route6", "clock")))
        work = partial(ledger.generations.read, self._armed.generation)
        tried = await run_bounded(work, WRITE_S)
        more = of_release(tried.release.health)
        return await self._boot.health.now.watch(min(wanted.settle_s, left_s), left_s, before, more)

    async def _guard(self) -> None:
        """Let a watchdog stop what does not come to a decision."""
        power, parameters = self._boot.power, self._boot.machine.parameters
        if power.watchdog is None and parameters.watchdog_s:
            try:
                await self._boot.children.run(SOFTDOG, timeout_s=MODLOAD_TIMEOUT_S)
            except OrlopError as error:
                log.warning("no watchdog for the trial: %s", error)
            if (
                power.watchdog is None
                and (dog := watchdog.open_watchdog(parameters.watchdog_s)) is not None
            ):
                power.watchdog = dog
                self._boot.tasks.start(dog.serve(), "watchdog")
        self._set_deadline()

    def _set_deadline(self) -> None:
        """From then on the watchdog is not petted any more."""
        if (dog := self._boot.power.watchdog) is not None:
            deadline_s = settings(self._boot.config.current).deadline_s
            dog.until_s = time.monotonic() + max(0.0, deadline_s - uptime_s()) + GRACE_S

    async def _promote(self) -> None:
        """It is good: from now on the machine boots it."""
        if (dog := self._boot.power.watchdog) is not None:
            dog.until_s = time.monotonic() + BUSY_S + GRACE_S
        try:
            await self._write_promotion()
        except (OrlopError, OSError) as error:
            log.warning("cannot promote generation %d: %s", self._armed.generation, error)
            if self._boot.power.requested is None:
                await self._go_back(Cause.UNKNOWN, f"it cannot be promoted: {error}")
            return
        self._updates.is_trial = False
        if self._boot.power.watchdog is not None:
            self._boot.power.watchdog.until_s = None
        self._boot.machine.withdraw(self._armed.on_trial)
        log.warning("generation %d is good", self._armed.generation)
        self._boot.machine.channel.send("promoted", generation=self._armed.generation)
        self._boot.tasks.start(self._boot.health.gate.became_good(), "reboot lock")
        try:
            async with self._updates.at_work("gc") as (ledger, place):
                await asyncio.to_thread(collect.collect, ledger, place)
                await self._updates.forget_images(ledger)
        except (OrlopError, OSError) as error:
            log.warning("cannot remove what is not needed any more: %s", error)

    async def _write_promotion(self) -> None:
        """Raises: OrlopError, OSError: the disks do not take it, whatever is tried."""
        until_s, attempts = time.monotonic() + BUSY_S, 0
        while True:
            try:
                async with self._updates.at_work("promote") as (ledger, place):
                    work = partial(trials.promote, ledger, place, self._armed)
                    return await run_bounded(work, WRITE_S)
            except Conflict:
                # Somebody is at another verb: to verify all images of a slow disk takes minutes.
                if time.monotonic() > until_s:
                    raise
            except TimeoutError:
                raise  # it may still be at it
            except (OrlopError, OSError):
                attempts += 1
                if attempts == PROMOTE_ATTEMPTS:
                    raise
            await asyncio.sleep(AGAIN_S)

    async def _note(self, cause: Cause, text: str) -> None:
        try:
            ledger = await self._updates.reading()
            work = partial(trials.write_cause, ledger, self._armed, cause, text)
            await run_bounded(work, WRITE_S)
        except (OrlopError, OSError) as error:  # the disk may be what is not good
            log.warning("cannot write down why the trial ends: %s", error)

    async def _go_back(self, cause: Cause, text: str) -> None:
        """It is not good: the boot loader starts the old one next."""
        await self._note(cause, text)
        why = f"generation {self._armed.generation} is not good ({cause.value}: {text})"
        self._boot.machine.warn(why)
        self._boot.power.request(PowerAction.REBOOT, why)
        await asyncio.sleep(FORCE_AFTER_S)
        self._boot.power.request(PowerAction.REBOOT, why, force=True)
