"""Tasks that live as long as the engine, none of which may take the others down.

This is the one place where a task's failure does not end its siblings, as a `TaskGroup` would have
it: a container's trouble is its own. It is logged with its traceback, being a bug.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

log = logging.getLogger(__name__)


async def thread_to_its_end[**P, T](
    function: Callable[P, T], *arguments: P.args, **named: P.kwargs
) -> T:
    """As `asyncio.to_thread`, but does not return before the thread has, cancelled or not.

    For what changes files: nobody may clean up behind a thread that goes on.
    """
    work = asyncio.ensure_future(asyncio.to_thread(function, *arguments, **named))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise


class TaskSet:
    """Owner of running tasks; `close` ends and awaits them all."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run *work* until it ends or `close` cancels it."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def close(self) -> None:
        """Cancel what runs and wait until it has ended."""
        current = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not current]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task %s failed", task.get_name(), exc_info=error)


def dump_tasks() -> None:
    """What every task waits for, into the log: for the day on which something hangs."""
    for task in asyncio.all_tasks():
        frame = next(iter(task.get_stack(limit=1)), None)
        place = "" if frame is None else f" at {frame.f_code.co_qualname}:{frame.f_lineno}"
        log.warning("task %s%s", task.get_name(), place)
