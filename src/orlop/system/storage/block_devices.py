"""Which block devices the machine has, what file systems are on them, and waiting for one to come.

Reads a few sectors of each disk and partition, each device in a thread of its own, so that one
broken disk delays nobody but itself. Waiting listens to the kernel's announcements; nothing polls.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from orlop.lib.blocking import run_bounded
from orlop.system.storage.superblock import (
    HEAD_BYTES,
    RAID_BYTES,
    Superblock,
    array_places,
    identify,
    identify_array,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

SYS_BLOCK = "/sys/class/block"

# Memory, floppies and optical media hold no state; a loop device is somebody's file.
SKIPPED = ("loop", "ram", "zram", "fd", "nbd", "mtdblock")
OPTICAL = "sr"

MAX_DEVICES = 256
"""A machine with more disks and partitions names its state with orlop.state."""

PROBE_TIMEOUT_S = 5.0
NETLINK_KOBJECT_UEVENT = 15


@dataclass(frozen=True, slots=True)
class Volume:
    """A block device with a file system that we know."""

    device: str
    superblock: Superblock


def candidates(sys_block: str = SYS_BLOCK, *, optical: bool = False) -> list[str]:
    """Names of the block devices that may hold a state, in a stable order; also *optical* ones."""
    try:
        names = sorted(os.listdir(sys_block), key=lambda name: (len(name), name))
    except OSError:
        return []
    skipped = SKIPPED if optical else (*SKIPPED, OPTICAL)
    return [name for name in names if not name.startswith(skipped)][:MAX_DEVICES]


def kernel_name(device: str) -> str:
    """What the kernel calls *device*: what is below /dev/mapper may be no link."""
    try:
        status = os.stat(device)
    except OSError:
        return os.path.basename(device)
    if not stat.S_ISBLK(status.st_mode):
        return os.path.basename(os.path.realpath(device))
    numbers = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    return os.path.basename(os.path.realpath(f"/sys/dev/block/{numbers}"))


def read_volume(device: str) -> Volume | None:
    """What is on *device*; None for an unreadable or unknown content. May block."""
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        superblock = _identify(descriptor)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None if superblock is None else Volume(device, superblock)


def _identify(descriptor: int) -> Superblock | None:
    head = os.pread(descriptor, HEAD_BYTES, 0)
    for place in array_places(os.lseek(descriptor, 0, os.SEEK_END)):
        if place >= 0:
            found = identify_array(head, place, os.pread(descriptor, RAID_BYTES, place))
            if found is not None:
                return found
    return identify(head)


async def probe(names: list[str], directory: str = "/dev") -> list[Volume]:
    """The volumes on devices *names*, in their order; a device that does not answer is left out."""

    async def one(name: str) -> Volume | None:
        try:
            # sysfs writes ! where a device's name has a slash (cciss!c0d0).
            device = f"{directory}/{name.replace('!', '/')}"
            return await run_bounded(partial(read_volume, device), PROBE_TIMEOUT_S)
        except TimeoutError:
            return None

    return [volume for volume in await asyncio.gather(*map(one, names)) if volume is not None]


class Announcements:
    """The kernel's messages about block devices, from the moment this was made."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT
        )
        self._socket.bind((0, 1))

    async def wait_block_device(self) -> None:
        """Return soon after a block device appeared or changed."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                message = await loop.sock_recv(self._socket, 8192)
            except OSError:
                return  # ENOBUFS: something was lost, so look
            if b"\0SUBSYSTEM=block\0" in message and not message.startswith(b"remove@"):
                return

    def close(self) -> None:
        self._socket.close()


@contextmanager
def announcements() -> Iterator[Announcements]:
    """Listen for the time of a `with` block."""
    listening = Announcements()
    try:
        yield listening
    finally:
        listening.close()
