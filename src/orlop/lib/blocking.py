"""Runs a call that the kernel may never answer, beside the event loop and within a limit.

mount(2), sync(2), a name server's answer or a read of a broken disk can take minutes or for ever;
no signal ends them. Each has a thread of its own, and not one of the few that the engine's work is
done in. One that is stuck is abandoned, and the program goes on without what it was to bring.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


async def run_bounded[T](function: Callable[[], T], timeout_s: float) -> T:
    """The result of *function*, called in a thread of its own.

    Raises:
        TimeoutError: no answer after *timeout_s*; the thread is left behind, its result is dropped.
        Exception: what *function* raised.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def deliver(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # T, when there is no error

    def call() -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = function()
        except BaseException as caught:  # noqa: BLE001 - handed to the one who asked
            error = caught
        try:
            loop.call_soon_threadsafe(deliver, result, error)
        except RuntimeError:
            pass  # the loop was closed meanwhile: nobody waits any more

    threading.Thread(target=call, daemon=True).start()
    async with asyncio.timeout(timeout_s):
        return await future
