"""The machine's health, of which nothing is needed until the machine has started."""

from __future__ import annotations

import asyncio
import functools
import os
from typing import TYPE_CHECKING

from orlop.system.machine import Phase

if TYPE_CHECKING:
    from orlop.system.boot import Boot
    from orlop.system.health.keeper import Health
    from orlop.system.updates.gate import Gate

DELAY_S = 20.0
"""After the start there is enough to do, and all of it is still settling."""


LOCK_FILE = "/var/lib/orlop/os/lock.json"
"""There while the machine has a reboot lock: `updates.held_lock`."""


class HealthLater:
    """For the machine of *boot*."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot

    @functools.cached_property
    def now(self) -> Health:
        """The code, loaded when somebody wants to know."""
        from orlop.system.health.keeper import Health

        return Health(self._boot)

    @functools.cached_property
    def gate(self) -> Gate:
        """What is in the way of a reboot: most of all, that the machine has to work after it."""
        from orlop.system.updates.gate import Gate

        return Gate(self._boot)

    def begin(self) -> None:
        """Look at it from time to time, when everything has started."""
        if self._boot.machine.phase is Phase.READY:
            self._boot.tasks.start(self._follow(), "health")

    async def _follow(self) -> None:
        await asyncio.sleep(DELAY_S)
        if os.access(LOCK_FILE, os.F_OK):
            self._boot.tasks.start(self.gate.follow(), "reboot lock")
        await self.now.follow()
