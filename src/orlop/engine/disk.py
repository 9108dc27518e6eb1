"""Looking at paths that are not the engine's own: the disk or server behind one may never answer.

Each path has a thread to itself, so one that hangs takes nobody else's turn. One that has not
answered is not asked again before it has: no number of requests makes more threads than paths.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from orlop.engine.turns import Turns
from orlop.lib.blocking import run_bounded
from orlop.lib.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT_S = 10.0
"""More than a disk that wakes up takes."""

MAX_HANGING = 32
"""Threads that may hang at a time, each on a path of its own."""

_hanging: set[str] = set()
_turns = Turns()


async def look[T](path: str, work: Callable[[], T]) -> T:
    """What *work* returns or raises, which looks at *path* and at nothing else that may hang.

    Raises:
        Unavailable: *path* did not answer in time, or still does not.
    """
    reason = f"{path} does not answer: its disk or server hangs"
    async with _turns.of(path, LIMIT_S, reason):
        return await _look(path, work, reason)


async def _look[T](path: str, work: Callable[[], T], reason: str) -> T:
    if path in _hanging:
        raise Unavailable(reason)
    if len(_hanging) >= MAX_HANGING:
        raise Unavailable(f"cannot look at {path}: {MAX_HANGING} other disks or servers hang")
    loop = asyncio.get_running_loop()
    answered = False

    def note() -> None:
        nonlocal answered
        answered = True
        _hanging.discard(path)

    def give_up() -> None:
        if not answered:
            _hanging.add(path)

    def act() -> T:
        try:
            return work()
        finally:
            # The loop is closed when the engine has ended meanwhile.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(note)

    try:
        return await run_bounded(act, LIMIT_S)
    except TimeoutError:
        if answered:
            raise  # what the disk or server says itself
        give_up()
        raise Unavailable(reason) from None
    except asyncio.CancelledError:
        loop.call_later(LIMIT_S, give_up)
        raise
