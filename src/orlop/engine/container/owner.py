"""The task that owns something: operations one after the other, and one timer.

Whoever wants a change calls `ask` and waits for the result; what happens by itself (a process
ended, a timer expired) comes with `tell`. Operations never overlap, so none needs a lock.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from orlop.lib.errors import Internal, NotFound, OrlopError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orlop.engine.tasks import TaskSet

    type Operation = Callable[[], Awaitable[None]]

log = logging.getLogger(__name__)

QUEUED_OPERATIONS = 128
"""Requests that may wait for one owner; more are refused."""

TELL_RETRY_S = 0.1
"""What happened by itself may not be lost: it is queued again when the queue is full."""


class Owner:
    """*name*, a kind and a name, is for messages and for the task."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._gone = f"No such {name.replace(' ', ': ', 1)}"
        self._queue: asyncio.Queue[tuple[Operation, asyncio.Future[None] | None]]
        self._queue = asyncio.Queue(QUEUED_OPERATIONS)
        self._timer: asyncio.TimerHandle | None = None
        self.retired = False

    def start(self, tasks: TaskSet) -> None:
        """Begin; before that, operations wait."""
        tasks.start(self._run(), self._name)

    async def ask(self, operation: Operation) -> None:
        """Have *operation* done, and wait until it is; what it raises is raised here.

        Raises:
            NotFound: the owner has retired. Unavailable: too much is waiting already.
        """
        if self.retired:
            raise NotFound(self._gone)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((operation, future))
        except asyncio.QueueFull:
            raise Unavailable(f"too many requests for {self._name}") from None
        await future

    def tell(self, operation: Operation) -> None:
        """Have *operation* done some time; what it raises is logged."""
        if self.retired:
            return
        try:
            self._queue.put_nowait((operation, None))
        except asyncio.QueueFull:
            asyncio.get_running_loop().call_later(TELL_RETRY_S, self.tell, operation)

    def later(self, delay_s: float, operation: Operation) -> None:
        """As `tell`, after *delay_s*; replaces what was set before."""
        self.cancel_timer()
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._expired, operation)

    def cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def retire(self) -> None:
        """The present operation is the last one."""
        self.cancel_timer()
        self.retired = True

    def _expired(self, operation: Operation) -> None:
        self._timer = None
        self.tell(operation)

    async def _run(self) -> None:
        while not self.retired:
            operation, future = await self._queue.get()
            error = await self._carry_out(operation, future)
            if future is None or future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
        while not self._queue.empty():
            _operation, future = self._queue.get_nowait()
            if future is not None and not future.done():
                future.set_exception(NotFound(self._gone))

    async def _carry_out(
        self, operation: Operation, future: asyncio.Future[None] | None
    ) -> OrlopError | None:
        """Do it; what it raises is for whoever asked, and for the log if nobody did."""
        try:
            await operation()
        except OrlopError as error:
            if future is None:
                log.warning("%s: %s", self._name, error)
            return error
        except asyncio.CancelledError:
            if future is not None and not future.done():
                future.set_exception(Unavailable("the engine is stopping"))
            raise
        except Exception as error:
            log.exception("%s: internal error", self._name)
            return Internal(f"internal error: {error!r}")
        return None
