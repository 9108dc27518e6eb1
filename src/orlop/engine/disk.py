"""Looking at paths that are not the engine's own: the disk or server behind one may never answer.

Each look has a thread to itself, so one that hangs takes nobody's turn. A path that has not
answered is not asked again before it has: no number of requests makes more threads than paths.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from typing import TYPE_CHECKING

from orlop.lib.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT_S = 10.0
"""More than a disk that wakes up takes."""

MAX_HANGING = 32
"""Threads that may hang at a time, each on a path of its own."""

_hanging: set[str] = set()


async def look[T](path: str, work: Callable[[], T]) -> T:
    """What *work* returns or raises, which looks at *path* and at nothing else that may hang.

    Raises:
        Unavailable: *path* did not answer in time, or still does not.
    """
    reason = f"{path} does not answer: its disk or server hangs"
    if path in _hanging:
        raise Unavailable(reason)
    if len(_hanging) >= MAX_HANGING:
        raise Unavailable(f"cannot look at {path}: {MAX_HANGING} other disks or servers hang")
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def finish(tell: Callable[[], None]) -> None:
        _hanging.discard(path)
        if not future.done():
            tell()

    def act() -> None:
        try:
            tell = functools.partial(future.set_result, work())
        except Exception as error:  # noqa: BLE001 - for whoever waits
            tell = functools.partial(future.set_exception, error)
        # The loop is closed when the engine has ended meanwhile.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(finish, tell)

    # A daemon: the end of the process does not wait for it.
    threading.Thread(target=act, name=f"look at {path}", daemon=True).start()
    try:
        async with asyncio.timeout(LIMIT_S):
            return await future
    except TimeoutError:
        _hanging.add(path)
        raise Unavailable(reason) from None
