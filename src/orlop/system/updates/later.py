"""Updates, of which a boot needs nothing unless one is under way: that costs one system call."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from typing import TYPE_CHECKING

from orlop.lib.errors import OrlopError
from orlop.system.machine import Phase
from orlop.system.storage import mirror

if TYPE_CHECKING:
    from orlop.system.boot import Boot
    from orlop.system.updates.boot_look import BootLook
    from orlop.system.updates.control import Updates

log = logging.getLogger(__name__)

DIRECTORY = "/var/lib/orlop/os"
SOURCE_LOOK_S = 60.0
LOOKS, LOOK_AGAIN_S = 3, 10.0
MUCH_LATER_S = 300.0
"""When it is looked again by a system that is not on trial: a full disk may have room by then."""
READY_LOOK_S = 0.5


class UpdatesLater:
    """For the machine of *boot*."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot

    @functools.cached_property
    def now(self) -> Updates:
        """The code, loaded when somebody asks for it."""
        from orlop.system.updates.control import Updates

        return Updates(self._boot)

    @functools.cached_property
    def _look_of_boot(self) -> BootLook:
        from orlop.system.updates.boot_look import BootLook

        return BootLook(self._boot, self.now)

    async def look(self) -> None:
        """Do what an update that is under way needs of this boot. Never raises."""
        machine = self._boot.machine
        if machine.state is None or machine.state.mode != "disk":
            if not machine.parameters.recovery and machine.parameters.state != "none":
                self._boot.tasks.start(self._look_without_state(), "trial without a state")
            return
        self._boot.tasks.start(self._by_itself(), "automatic updates")
        if os.path.isdir(mirror.MODULE):
            self._boot.tasks.start(self._look_after_mirror(machine.state.device), "mirror")
        if not os.access(f"{DIRECTORY}/pending", os.F_OK):
            return
        if error := await self._try_to_look():
            machine.warn(f"cannot look after the update that is under way: {error}")
            self._boot.tasks.start(self._look_again(), "look after the update")

    async def _try_to_look(self) -> str:
        """Why it cannot be looked after the update; empty if it was."""
        try:
            await self._look_of_boot.look()
        except Exception as error:
            log.exception("look after the update")
            return str(error) or type(error).__name__
        return ""

    async def _look_again(self) -> None:
        """The disk may come late. A trial that is never looked after would never end."""
        error = ""
        for _ in range(LOOKS):
            await asyncio.sleep(LOOK_AGAIN_S)
            if self._boot.power.requested is not None or not (error := await self._try_to_look()):
                return
        try:
            await self._look_of_boot.give_up(error)
        except (OrlopError, OSError) as problem:  # the disk that does not answer, or is full
            log.warning("cannot write down why the trial ends: %s", problem)
        while self._boot.power.requested is None:
            await asyncio.sleep(MUCH_LATER_S)
            if not await self._try_to_look():
                return

    async def _look_after_mirror(self, device: str) -> None:
        while self._boot.machine.phase is Phase.STARTING:
            await asyncio.sleep(READY_LOOK_S)
        await self.equalise(device)
        if (found := mirror.of_state(device)) is not None and found.missing:
            from orlop.system.install import unfinished_half

            await unfinished_half.finish(self._boot, device)

    async def equalise(self, device: str) -> None:
        """Make the boot partitions of a mirror alike, which a power cut, or a disk that was away,
        may have left different."""
        from orlop.system.updates import esp

        error = ""
        for _ in range(LOOKS):
            try:
                if not await esp.differing(device):
                    return
                async with self.now.at_work("equalise"):
                    pass
            except (OrlopError, OSError, TimeoutError) as problem:  # another verb does it, too
                error = str(problem)
                await asyncio.sleep(LOOK_AGAIN_S)
        if differing := await esp.differing(device):
            names = ", ".join(differing)
            self._boot.machine.warn(f"{names} cannot be made like the other boot partition {error}")

    async def _by_itself(self) -> None:
        """Look for releases, as soon as somebody has said where they come from."""
        while not self._boot.config.current.get("orlop.update.source"):
            await asyncio.sleep(SOURCE_LOOK_S)
        from orlop.system.updates.automatic import Automatic

        await Automatic(self._boot).run()

    async def _look_without_state(self) -> None:
        """A system that cannot use the state cannot say how its trial went: it goes back at once.

        Nothing is loaded for it on a machine without an ORLOP_ESP.
        """
        from orlop.lib.blocking import run_bounded
        from orlop.system.updates import esp

        try:
            if not await run_bounded(esp.find, esp.TIMEOUT_S):
                return
            from orlop.system.power import PowerAction
            from orlop.system.updates.interrupted import is_trial

            build = self._boot.machine.release.get("build", "")
            async with esp.mounted("", write=False) as place:
                if not await run_bounded(lambda: is_trial(place, build), esp.TIMEOUT_S):
                    return
        except (OrlopError, OSError, TimeoutError) as error:
            log.warning("cannot look whether this is a trial: %s", error)
            return
        why = "this system is on trial, and cannot use the state partition"
        self._boot.machine.warn(why)
        self._boot.power.request(PowerAction.REBOOT, why)
