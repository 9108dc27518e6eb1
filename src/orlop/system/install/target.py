"""The disk that is being installed: what is written to it is read back from it, not from memory."""

from __future__ import annotations

import fcntl
import os
from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]
from typing import TYPE_CHECKING

from orlop.lib import block_ioctl
from orlop.lib.block_ioctl import PartitionChange
from orlop.lib.disk_ids import read_text
from orlop.lib.errors import Internal
from orlop.system.storage.block_devices import SYS_BLOCK

if TYPE_CHECKING:
    from collections.abc import Callable

    type Report = Callable[[int], None]
    """Called with the number of bytes since the last time."""

PIECE_BYTES = 1 << 20
_BLKFLSBUF = 0x1261


class Target:
    """The disk *device*, for this program alone unless *shared*: a state of it is in use then.

    Raises:
        OSError: it cannot be opened; EBUSY when somebody else has it.
    """

    def __init__(self, device: str, *, shared: bool = False) -> None:
        self.device = device
        flags = os.O_RDWR | os.O_CLOEXEC | (0 if shared else os.O_EXCL)
        self._descriptor = os.open(device, flags)
        self.size_bytes = block_ioctl.size_bytes(self._descriptor)
        self.sector_bytes = block_ioctl.sector_bytes(self._descriptor)
        self._written: list[tuple[int, int, bytes]] = []

    def close(self) -> None:
        """Leave the disk."""
        os.close(self._descriptor)

    def read(self, offset: int, size: int) -> bytes:
        """Up to *size* bytes from *offset*."""
        return os.pread(self._descriptor, size, offset)

    def write(self, offset: int, data: bytes) -> None:
        """Write *data*; it is on the disk for good after `commit`.

        Raises:
            OSError: from the disk.
        """
        view = memoryview(data)
        for start in range(0, len(view), PIECE_BYTES):
            piece, at = view[start : start + PIECE_BYTES], offset + start
            self._written.append((at, len(piece), sha256(piece).digest()))
            while piece:
                count = os.pwrite(self._descriptor, piece, at)
                piece, at = piece[count:], at + count

    def commit(self, report: Report | None = None) -> None:
        """Let the disk have all that was written, and compare it with what the disk has.

        Raises:
            Internal: it is not the same. OSError: from the disk.
        """
        self._drop_cache()
        for offset, size, digest in self._written:
            if sha256(self.read(offset, size)).digest() != digest:
                raise Internal(
                    f"{self.device} does not hold what was written to it at byte {offset}: "
                    "it is faulty"
                )
            if report is not None:
                report(size)
        self._written.clear()

    def _drop_cache(self) -> None:
        os.fsync(self._descriptor)
        try:
            fcntl.ioctl(self._descriptor, _BLKFLSBUF, 0)
        except OSError:
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def share(self) -> None:
        """Go on without keeping others away: a file system on a part of it could not be mounted."""
        held = self._descriptor
        self._descriptor = os.open(self.device, os.O_RDWR | os.O_CLOEXEC)
        os.close(held)

    def forget_partitions(self) -> None:
        """Let the kernel know of no partition of the disk.

        Raises:
            OSError: EBUSY when one is in use.
        """
        # sysfs writes ! where a device's name has a slash.
        directory = f"{SYS_BLOCK}/{self.device.removeprefix('/dev/').replace('/', '!')}"
        for name in os.listdir(directory):
            number = read_text(f"{directory}/{name}", "partition")
            if number:
                block_ioctl.change_partition(self._descriptor, PartitionChange.DELETE, int(number))

    def add_partition(self, number: int, start_bytes: int, size_bytes: int) -> str:
        """Let the kernel have the partition; its device.

        Raises:
            OSError: from the kernel.
        """
        block_ioctl.change_partition(
            self._descriptor, PartitionChange.ADD, number, start_bytes, size_bytes
        )
        return partition_of(self.device, number)

    def read_partitions_again(self) -> None:
        """Let the kernel read the table that is on the disk now, if nothing is in its way."""
        try:
            block_ioctl.read_partitions_again(self._descriptor)
        except OSError:
            pass  # the next boot does


def partition_of(device: str, number: int) -> str:
    """The device of a partition on the disk *device*."""
    return f"{device}p{number}" if device[-1].isdigit() else f"{device}{number}"


def drop_cache_of(device: str) -> None:
    """Let the next read of *device* come from the disk.

    Raises:
        OSError: it cannot be opened, or written to.
    """
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
        fcntl.ioctl(descriptor, _BLKFLSBUF, 0)
    finally:
        os.close(descriptor)
