"""What the kernel does with block devices and file systems on request: one function each.

Sources: Linux 6.12 include/uapi/linux/{fs,blkpg,btrfs}.h, fs/ext4/ext4.h, fs/xfs/libxfs/xfs_fs.h.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from enum import IntEnum

_BLKGETSIZE64, _BLKSSZGET, _BLKRRPART, _BLKPG = 0x80081272, 0x1268, 0x125F, 0x1269
_EXT4_RESIZE, _BTRFS_RESIZE = 0x40086610, 0x50009403
_XFS_GEOMETRY, _XFS_GROW = 0x8100587E, 0x4010586E


class PartitionChange(IntEnum):
    """Operations of BLKPG: they change what the kernel believes, and write nothing."""

    ADD = 1
    DELETE = 2
    RESIZE = 3


def size_bytes(descriptor: int) -> int:
    """The size of a block device, or of a file.

    Raises:
        OSError: from the kernel.
    """
    try:
        answer = fcntl.ioctl(descriptor, _BLKGETSIZE64, bytes(8))
    except OSError:
        return os.fstat(descriptor).st_size
    return int(struct.unpack("=Q", answer)[0])


def sector_bytes(descriptor: int) -> int:
    """The size of a block device's logical sectors; 512 for a file."""
    try:
        return int(struct.unpack("=i", fcntl.ioctl(descriptor, _BLKSSZGET, bytes(4)))[0])
    except OSError:
        return 512


def read_partitions_again(descriptor: int) -> None:
    """Let the kernel read the disk's partition table.

    Raises:
        OSError: EBUSY when a partition is in use.
    """
    fcntl.ioctl(descriptor, _BLKRRPART)


def change_partition(
    descriptor: int,
    change: PartitionChange,
    number: int,
    start_bytes: int = 0,
    length_bytes: int = 0,
) -> None:
    """Tell the kernel about partition *number* of the disk open as *descriptor*.

    Raises:
        OSError: from the kernel: EBUSY when it overlaps another or is in use.
    """
    partition = struct.pack("=qqi64s64s4x", start_bytes, length_bytes, number, b"", b"")
    buffer = ctypes.create_string_buffer(partition, len(partition))
    argument = struct.pack("@iiiP", change, 0, len(partition), ctypes.addressof(buffer))
    fcntl.ioctl(descriptor, _BLKPG, argument)


def grow_ext4(descriptor: int, device_bytes: int, block_bytes: int) -> None:
    """Let the ext4 that *descriptor* is in fill a device of *device_bytes*, while it is in use.

    Raises:
        OSError: from the kernel; EPERM for a file system with errors.
    """
    fcntl.ioctl(descriptor, _EXT4_RESIZE, struct.pack("=Q", device_bytes // block_bytes))


def grow_xfs(descriptor: int, device_bytes: int) -> None:
    """The same for XFS.

    Raises:
        OSError: from the kernel.
    """
    geometry = fcntl.ioctl(descriptor, _XFS_GEOMETRY, bytes(256))
    block_bytes, share = struct.unpack_from("=I24xI", geometry)
    (blocks,) = struct.unpack_from("=Q", geometry, 32)
    if device_bytes // block_bytes > blocks:
        fcntl.ioctl(descriptor, _XFS_GROW, struct.pack("=QI4x", device_bytes // block_bytes, share))


def grow_btrfs(descriptor: int) -> None:
    """The same for Btrfs, on its first device.

    Raises:
        OSError: from the kernel.
    """
    fcntl.ioctl(descriptor, _BTRFS_RESIZE, struct.pack("=q4088s", 0, b"max"))
