"""The directories of `RUN --mount=type=cache`: DATA/build/mounts/NAME, until they are pruned."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


class CacheMounts:
    """Who uses which of them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._users: Counter[str] = Counter()
        self._locks: dict[str, asyncio.Lock] = {}

    def path(self, name: str) -> Path:
        return self._directory / name

    def names(self) -> list[str]:
        """Those that there are."""
        try:
            return sorted(path.name for path in self._directory.iterdir())
        except FileNotFoundError:
            return []

    def is_used(self, name: str) -> bool:
        return self._users[name] > 0

    @contextlib.contextmanager
    def using(self, name: str) -> Iterator[None]:
        """Shared with whoever else uses it."""
        self._users[name] += 1
        try:
            yield
        finally:
            self._users[name] -= 1

    @contextlib.contextmanager
    def private(self, name: str) -> Iterator[str]:
        """One that nobody else uses: *name*, or another while that is used."""
        number = 1
        candidate = name
        while self.is_used(candidate):
            number += 1
            candidate = f"{name}-{number}"
        with self.using(candidate):
            yield candidate

    @contextlib.asynccontextmanager
    async def lock(self, name: str) -> AsyncIterator[None]:
        """For one user after the other."""
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with lock:
            with self.using(name):
                yield
