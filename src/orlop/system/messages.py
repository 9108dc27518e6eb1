"""PID 1's messages: to the kernel log, and to the console what a person has to see.

/dev/kmsg never blocks and survives everything, so it is the log. Warnings also go to the console
when the kernel's own log level would hide them. A message that repeats, or a flood of them, is
counted instead of written: a loop that fails a thousand times a second must not hide what matters.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX = "orlop"

# Source: printk levels, include/linux/kern_levels.h. Facility 3 is "daemon".
_FACILITY = 3 << 3
_LEVELS = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))

MAX_RECORD_BYTES = 900
"""The kernel cuts a record at about 1 KiB; a longer message becomes several."""

BURST = 200
PERIOD_S = 10.0
"""At most BURST messages in PERIOD_S; a boot writes fewer than a hundred."""


class RateLimit:
    """Lets *burst* events pass in every *period_s*, and counts the others."""

    def __init__(
        self, burst: int, period_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst, self._period_s, self._clock = burst, period_s, clock
        self._began_s, self._passed = clock(), 0
        self.suppressed = 0

    def allows(self) -> bool:
        now_s = self._clock()
        if now_s - self._began_s >= self._period_s:
            self._began_s, self._passed = now_s, 0
        if self._passed >= self._burst:
            self.suppressed += 1
            return False
        self._passed += 1
        return True

    def take_suppressed(self) -> int:
        """How many were held back since the last call."""
        count, self.suppressed = self.suppressed, 0
        return count


def kernel_level(level: int) -> int:
    """The printk level of a level of `logging`."""
    return next(kernel for least, kernel in _LEVELS if level >= least)


def format_records(level: int, text: str) -> list[bytes]:
    """*text* as records for /dev/kmsg, one per line, each short enough."""
    head = f"<{_FACILITY | kernel_level(level)}>{PREFIX}: ".encode()
    records: list[bytes] = []
    for line in text.splitlines() or [""]:
        data = line.encode("utf-8", "replace")
        records += [
            head + data[start : start + MAX_RECORD_BYTES]
            for start in range(0, max(len(data), 1), MAX_RECORD_BYTES)
        ]
    return records


class MessageHandler(logging.Handler):
    """Writes log records to /dev/kmsg and, where needed, to /dev/console. Never raises or waits."""

    def __init__(self, kmsg: str = "/dev/kmsg", console: str = "/dev/console") -> None:
        super().__init__()
        self._limit = RateLimit(BURST, PERIOD_S)
        self._kmsg = _open_for_writing(kmsg)
        self._console_path = console
        self.console_level = read_console_level()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if not self._limit.allows():
                return
            text = self.format(record)
            if held_back := self._limit.take_suppressed():
                self._write(logging.WARNING, f"{held_back} messages were held back")
            self._write(record.levelno, text)
        except Exception:  # noqa: BLE001 - there is no further place to report to
            pass

    def _write(self, level: int, text: str) -> None:
        for line in format_records(level, text):
            _write_nowait(self._kmsg, line)
        if level >= logging.WARNING and kernel_level(level) >= self.console_level:
            self.write_console(f"{PREFIX}: {text}\n")

    def write_console(self, text: str) -> None:
        """Show *text* on the console; what does not fit at once (a stopped terminal) is lost."""
        # Opened each time: a hung-up serial line gives EIO for ever on the old descriptor.
        descriptor = _open_for_writing(self._console_path)
        if descriptor >= 0:
            _write_nowait(descriptor, text.replace("\n", "\r\n").encode("utf-8", "replace"))
            os.close(descriptor)


def set_up(*, debug: bool) -> MessageHandler:
    """Send everything that is logged under `orlop` and by asyncio to the kernel log."""
    handler = MessageHandler()
    handler.setFormatter(_Formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("orlop").setLevel(logging.DEBUG if debug else logging.INFO)
    logging.raiseExceptions = False
    return handler


def read_console_level(path: str = "/proc/sys/kernel/printk") -> int:
    """Messages below this printk level are shown on the console by the kernel itself."""
    try:
        with open(path, encoding="ascii") as stream:
            return int(stream.read().split()[0])
    except (OSError, ValueError, IndexError):
        return 7


class _Formatter(logging.Formatter):
    """The message, and a traceback in as few lines as possible."""

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        return text


def _open_for_writing(path: str) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return -1


def _write_nowait(descriptor: int, data: bytes) -> None:
    try:
        os.write(descriptor, data)
    except OSError:
        pass  # not there, full, or rate-limited by the kernel
