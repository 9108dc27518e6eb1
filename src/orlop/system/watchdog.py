"""The hardware watchdog: if PID 1's event loop stops for too long, the machine is reset.

Source: Linux Documentation/watchdog/watchdog-api.rst.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import struct
import time

log = logging.getLogger(__name__)

DEVICES = ("/dev/watchdog0", "/dev/watchdog")

# _IOWR('W', 6, int) and _IO('W', 5) of linux/watchdog.h.
WDIOC_SETTIMEOUT = 0xC0045706
WDIOC_KEEPALIVE = 0x80045705
_INT = struct.Struct("i")

SHUTDOWN_TIMEOUT_S = 120
"""While stopping, a stuck kernel is reset by the watchdog after this time at most."""


class Watchdog:
    """An open watchdog. `serve` pets it from the event loop; `disarm` switches it off."""

    def __init__(self, descriptor: int, timeout_s: int) -> None:
        self._descriptor = descriptor
        self.timeout_s = self._set_timeout(timeout_s)
        self.until_s: float | None = None
        """On CLOCK_MONOTONIC: from then on it is not petted, and the machine is reset."""

    @property
    def descriptor(self) -> int:
        return self._descriptor

    async def serve(self) -> None:
        """Pet it four times within its time-out, as long as it is to be."""
        while True:
            if self.until_s is None or time.monotonic() < self.until_s:
                self.pet()
            await asyncio.sleep(self.timeout_s / 4)

    def pet(self) -> None:
        try:
            fcntl.ioctl(self._descriptor, WDIOC_KEEPALIVE, 0)
        except OSError as error:
            log.warning("cannot pet the watchdog: %s", error.strerror)

    def prepare_shutdown(self) -> None:
        """Leave it armed with a longer time-out: a shutdown that hangs ends in a reset."""
        self.until_s = None
        self.timeout_s = self._set_timeout(SHUTDOWN_TIMEOUT_S)
        self.pet()

    def disarm(self) -> None:
        """Magic close: the machine is not reset after this, if the driver allows it."""
        try:
            os.write(self._descriptor, b"V")
            os.close(self._descriptor)
        except OSError as error:
            log.warning("cannot disarm the watchdog: %s", error.strerror)

    def _set_timeout(self, timeout_s: int) -> int:
        """Ask for *timeout_s*; the driver may choose another, which is returned."""
        buffer = bytearray(_INT.pack(timeout_s))
        try:
            fcntl.ioctl(self._descriptor, WDIOC_SETTIMEOUT, buffer)
        except OSError:
            return timeout_s  # fixed by hardware: petting four times in ours is the best guess
        chosen: int = _INT.unpack(buffer)[0]
        return max(chosen, 1)


def open_watchdog(timeout_s: int, devices: tuple[str, ...] = DEVICES) -> Watchdog | None:
    """Arm the first watchdog there is; None when there is none, or *timeout_s* is 0."""
    if timeout_s == 0:
        return None
    for device in devices:
        try:
            descriptor = os.open(device, os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            continue
        return Watchdog(descriptor, timeout_s)
    return None
