"""Tells the host of a virtual machine how far the boot is: JSON lines on a virtio port.

The port has the name `org.orlop.boot.0`. Writing never waits: lines that the host does not read
are kept up to a bound and then dropped, the newest first, because what comes first matters most.
A machine without the port has a channel that does nothing.

    {"event": "stage", "name": "filesystems", "uptime_s": 1.31}
    {"event": "service", "name": "time", "state": "running", "uptime_s": 2.90}
    {"event": "warning", "text": "unknown kernel parameter orlop.x, ignoring", "uptime_s": 1.3}
    {"event": "ready", "uptime_s": 3.4, "addresses": ["192.0.2.7/24"], "services": {...}}
    {"event": "down", "uptime_s": 90.1}

*uptime_s* is CLOCK_BOOTTIME: seconds since the kernel began to count.
"""

from __future__ import annotations

import errno
import json
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orlop.wire.compose_model import Json

PORT_NAME = "org.orlop.boot.0"
MAX_PENDING_BYTES = 64 << 10


def uptime_s() -> float:
    """Seconds since boot, in milliseconds' precision."""
    return round(time.clock_gettime(time.CLOCK_BOOTTIME), 3)


def find_port(
    name: str, sys_ports: str = "/sys/class/virtio-ports", devices: str = "/dev"
) -> str | None:
    """The device of the virtio port called *name*."""
    try:
        entries = sorted(os.listdir(sys_ports))
    except OSError:
        return None
    for entry in entries:
        try:
            with open(f"{sys_ports}/{entry}/name", encoding="utf-8") as stream:
                if stream.read().strip() == name:
                    return f"{devices}/{entry}"
        except OSError:
            continue
    return None


class BootChannel:
    """The sending end. Events before `connect` are kept and sent then."""

    def __init__(self) -> None:
        self._descriptor = -1
        self._pending = bytearray()
        self._given_up = False

    def connect(self, path: str | None) -> None:
        """Use the device at *path*; None means that the machine has no such port (yet)."""
        if path is None or self._descriptor >= 0:
            return
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return
        self.flush()

    def adopt(self, descriptor: int) -> None:
        """Go on with a descriptor from before a re-execution."""
        self._descriptor = descriptor
        os.set_inheritable(descriptor, False)

    @property
    def descriptor(self) -> int:
        return self._descriptor

    @property
    def is_pending(self) -> bool:
        """Whether something waits for the host to read."""
        return bool(self._pending) and self._descriptor >= 0

    def send(self, event: str, **values: Json) -> None:
        """Send one event with the present uptime."""
        if self._given_up:
            return
        # One order of keys whatever the event, and times that are readable.
        message = {"event": event, **values}
        message.setdefault("uptime_s", uptime_s())
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        if len(self._pending) + len(line) <= MAX_PENDING_BYTES:
            self._pending += line
        self.flush()

    def give_up(self) -> None:
        """There is no port and will be none: forget what was kept."""
        if self._descriptor < 0:
            self._given_up = True
            self._pending.clear()

    def flush(self) -> None:
        """Write what the port takes now."""
        while self._pending and self._descriptor >= 0:
            try:
                written = os.write(self._descriptor, self._pending)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EINTR):
                    self._close()
                return
            del self._pending[:written]

    def _close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1
        self._pending.clear()
        self._given_up = True
