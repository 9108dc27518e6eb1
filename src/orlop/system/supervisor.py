"""PID 1's event loop, and the rule that nothing ends it.

Every exception that reaches this module is logged and the loop goes on: tasks live on through it.
If the loop itself is broken, the process is executed anew, which keeps all containers; if even
that fails again and again, PID 1 stays as the reaper of orphans with a shell on the console.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from orlop.system.messages import RateLimit

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

log = logging.getLogger(__name__)

FAILURES_ALLOWED, FAILURES_PERIOD_S = 20, 10.0
"""More failures of the loop itself than this in that time, and it counts as broken."""

PAUSE_AFTER_FAILURE_S = 0.05


class LoopBrokenError(Exception):
    """The event loop fails again and again."""


def run_for_ever(
    start: Callable[[], Coroutine[Any, Any, None]],
    loop: asyncio.AbstractEventLoop | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Run *start* as a task and the loop for ever, whatever is raised.

    Returns when somebody calls `loop.stop()`, which only a re-execution and tests do.

    Raises:
        LoopBrokenError: see the module.
    """
    loop = loop or asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.set_exception_handler(report_loop_error)
    # Kept alive by this name: asyncio holds tasks by weak references only.
    main_task = loop.create_task(start(), name="pid 1")
    main_task.add_done_callback(_report_end)
    failures = RateLimit(FAILURES_ALLOWED, FAILURES_PERIOD_S, clock)
    while True:
        try:
            loop.run_forever()
        except BaseException as error:
            report("the event loop", error)
            if not failures.allows():
                raise LoopBrokenError from error
            time.sleep(PAUSE_AFTER_FAILURE_S)
            continue
        return


def _report_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        report(task.get_name(), error)


def report(what: str, error: BaseException) -> None:
    """Log *error* with its traceback; without one if there is no memory for it."""
    try:
        log.error("%s failed: %r", what, error, exc_info=error)
    except Exception:  # noqa: BLE001 - MemoryError while formatting: say less
        log.error("%s failed", what)


def report_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """asyncio's own handler would log under its own name and could raise."""
    error = context.get("exception")
    text = str(context.get("message", "unhandled error"))
    if isinstance(error, BaseException):
        report(text, error)
    else:
        log.error("%s", text)


def install_hooks() -> None:
    """What escapes elsewhere (threads, finalisers) goes to the log as well."""
    sys.excepthook = lambda _kind, error, _trace: report("PID 1", error)
    sys.unraisablehook = lambda args: report(
        str(args.err_msg or "a finaliser"), args.exc_value or RuntimeError()
    )
    threading.excepthook = lambda args: report("a thread", args.exc_value or RuntimeError())


def ignore_default_signals() -> None:
    """Signals whose default would end a process that is not protected as PID 1 is."""
    for number in (signal.SIGPIPE, signal.SIGQUIT, signal.SIGALRM, signal.SIGTSTP, signal.SIGTTOU):
        signal.signal(number, signal.SIG_IGN)
    # Python's own handler raises KeyboardInterrupt wherever the program happens to be.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
