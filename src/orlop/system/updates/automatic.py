"""What a machine does about releases by itself: `orlop.update.automatic`.

Every hour or so it looks, at another minute on each machine; what it stages it applies when the
gate is open (window, lock, drain), for which it asks every few minutes, and then the source once
more. An image that was bad here is left alone for as long as `bad` says. Whatever fails is told
once, and tried again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from functools import partial
from typing import TYPE_CHECKING

from orlop.lib.errors import Forbidden, NotModified, OrlopError
from orlop.system.updates import report
from orlop.system.updates.decide import ATTEMPTS
from orlop.system.updates.journal import Status
from orlop.system.updates.settings import KEY
from orlop.wire.channel import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orlop.system.boot import Boot
    from orlop.system.updates.journal import Change

log = logging.getLogger(__name__)

TICK_S = 300.0
FIRST_LOOK_S = 600.0
LOOK_EVERY_S = 3600.0
OFF, CHECK, STAGE, APPLY = "off", "check", "stage", "apply"


def untried(changes: Iterable[Change], number: int) -> int:
    """How often generation *number* was to be tried and was not, though it is staged still: where a
    boot loader cannot note that it tries, the machine would reboot for ever."""
    return sum(
        change.verb == "apply"
        and change.status is Status.UNDONE
        and change.data.get("generation") == number
        for change in changes
    )


class Automatic:
    """For the machine of *boot*. `run` goes on as long as the machine does."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot
        self._told = ""
        spread = int.from_bytes(os.urandom(2)) / 0x10000
        self._next_look_s = time.monotonic() + FIRST_LOOK_S * (0.5 + spread)
        self._spread = 0.5 + spread

    @property
    def mode(self) -> str:
        """What the configuration wants; off without a source."""
        current = self._boot.config.current
        if not current.get(f"{KEY}.source"):
            return OFF
        return str(current.get(f"{KEY}.automatic") or CHECK)

    async def run(self) -> None:
        """Never ends."""
        while True:
            await asyncio.sleep(TICK_S)
            await self.tick(time.monotonic())

    async def tick(self, now_s: float) -> None:
        """What is due at *now_s*. Never raises but when it is cancelled."""
        mode = self.mode
        if mode == OFF:
            return
        try:
            await self._date()
            if is_due := now_s >= self._next_look_s:
                self._next_look_s = now_s + LOOK_EVERY_S * self._spread
                try:
                    await self._look(mode)
                except Forbidden as error:
                    # Not a release that is not for this machine yet, but one not to be trusted.
                    self._tell(f"no update: {error}")
            if mode == APPLY:
                await self._apply(has_looked=is_due)
        except (NotModified, Forbidden) as error:
            log.debug("updates: %s", error)
        except (OrlopError, OSError) as error:
            self._tell(f"no update: {error}")
        except Exception:
            log.exception("updates")

    async def _date(self) -> None:
        """Mend what a wrong clock has dated; on most machines nothing is bad."""
        from orlop.system.updates import bad, fetch

        updates = self._boot.updates.now
        ledger = await updates.reading()

        def mended() -> dict[str, bad.Bad] | None:
            known = ledger.bad()
            found = bad.dated(known, time.time(), fetch.built_at()) if known else known
            return None if found == known else found

        if await asyncio.to_thread(mended) is not None:
            async with updates.at_work("note", write=False):
                if (found := await asyncio.to_thread(mended)) is not None:
                    await asyncio.to_thread(ledger.set_bad, found)

    async def _look(self, mode: str) -> None:
        from orlop.system.updates import bad, offers

        offer, good = await offers.look(self._boot, offers.Wish())
        if isinstance(offer, Refused):
            log.debug("updates: %s", offer.text)
            return
        version = offer.release.version
        if mode == CHECK:
            self._tell(f"release {version} can be had: orlop os stage")
            return
        ledger = await self._boot.updates.now.reading()
        known = await asyncio.to_thread(ledger.bad)
        before = known.get(offer.release.image.sha256) or known.get(offer.digest)
        newer = before is not None and before.sequence < offer.release.sequence
        if before is not None and not newer and bad.left_s(before, time.time()) > 0:
            was = "was left" if before.cause == bad.LEFT else "was bad"
            self._tell(f"release {version} {was} here ({before.cause}), and is left alone")
            return
        await offers.take(self._boot, offer, good, lambda _: None)
        self._tell(f"release {version} is staged")

    async def _apply(self, *, has_looked: bool) -> None:
        """Apply what is staged, once it was asked whether that still is to be."""
        updates, gate = self._boot.updates.now, self._boot.health.gate
        ledger = await updates.reading()
        standing = await asyncio.to_thread(ledger.generations.standing)
        number = standing.staged
        if not number or updates.is_trial:
            return
        if untried(ledger.journal.changes.values(), number) >= ATTEMPTS:
            self._tell(f"generation {number} was never tried, and is left alone: orlop os history")
            return
        generation = await asyncio.to_thread(ledger.generations.read, number)
        if not generation.release.digest:
            self._tell(f"generation {number} is signed by nobody, and is for people to apply")
            return
        if text := await asyncio.to_thread(report.bad_text, ledger, generation):
            self._tell(text)
            return
        if text := await gate.why(partial(report.held, ledger)):
            raise Forbidden(text)
        if not has_looked:
            from orlop.system.updates import offers

            await offers.ask_again(self._boot)
        await updates.apply(now=False, dry_run=False)

    def _tell(self, text: str) -> None:
        """Once for as long as nothing else is to be told."""
        if text != self._told:
            self._told = text
            log.warning("%s", text)
