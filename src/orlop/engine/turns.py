"""Changes of things one after the other, each thing by itself, with a limit on the waiting."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from orlop.lib.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Turns:
    """A lock per name, there only while somebody has it or waits for it."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: dict[str, int] = {}

    @contextlib.asynccontextmanager
    async def of(self, name: str, limit_s: float, reason: str) -> AsyncIterator[None]:
        """The block runs when nobody else's does for *name*.

        Raises:
            Unavailable: with *reason*; it would be more than *limit_s* until then.
        """
        lock = self._locks.setdefault(name, asyncio.Lock())
        self._users[name] = self._users.get(name, 0) + 1
        try:
            try:
                async with asyncio.timeout(limit_s):
                    await lock.acquire()
            except TimeoutError:
                raise Unavailable(reason) from None
            try:
                yield
            finally:
                lock.release()
        finally:
            self._users[name] -= 1
            if not self._users[name]:
                del self._users[name], self._locks[name]
