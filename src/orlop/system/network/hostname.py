"""The name that the network gives the machine.

The network service writes what DHCP says to /run/orlop/network/hostname: it may not set the name
itself. PID 1 takes it from there, after a check, when nobody configured another.
"""

from __future__ import annotations

import asyncio
import os
import stat
from typing import TYPE_CHECKING

from orlop.lib import inotify
from orlop.system.parameters import is_hostname

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DIRECTORY = "/run/orlop/network"
FILE = "hostname"


def from_network(directory: str = DIRECTORY) -> str | None:
    """The name in the network service's file; None when there is none, or it is no host name.

    What is there is the service's, a pipe if it likes: nothing is followed or waited for.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(f"{directory}/{FILE}", flags)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            name = os.read(descriptor, 256).decode("ascii").strip()
        finally:
            os.close(descriptor)
    except (OSError, UnicodeDecodeError):
        return None
    return name if is_hostname(name) else None


async def changes(
    directory: str = DIRECTORY, file: str = FILE, *, at_once: bool = False
) -> AsyncIterator[None]:
    """One item for each time *file* in *directory* may have changed; *at_once* one before."""
    os.makedirs(directory, mode=0o755, exist_ok=True)
    loop = asyncio.get_running_loop()
    descriptor = inotify.open_inotify()
    happened = asyncio.Event()
    try:
        mask = inotify.InotifyMask.CLOSE_WRITE | inotify.InotifyMask.MOVED_TO
        inotify.add_watch(descriptor, directory, mask)
        loop.add_reader(descriptor, happened.set)
        if at_once:
            yield
        while True:
            await happened.wait()
            happened.clear()
            if any(name == file for _, _, name in inotify.read_events(descriptor)):
                yield
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
