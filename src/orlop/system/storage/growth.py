"""Lets the state partition, and its file system, grow to the size of the disk.

A disk gets larger between boots, or an image is written to one that is larger than it. Once for
each size of the disk: who makes room behind the partition later keeps it. Everything happens while
the file system is in use; a power cut leaves the table of before or the one of after.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from orlop.lib import atomic_file, block_ioctl, partition_table
from orlop.lib.block_ioctl import PartitionChange
from orlop.lib.disk_ids import read_text
from orlop.lib.errors import InvalidArgument
from orlop.lib.partition_table import GPT_MAGIC

log = logging.getLogger(__name__)

RECORD = "/var/lib/orlop/grown"
"""The disk's size, in bytes, for which the work has been done."""

SYS_BLOCK = "/sys/class/block"
_FLAGS = os.O_RDWR | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Grown:
    """What has become larger: a partition, its file system, or both; sizes in bytes."""

    device: str
    before_bytes: int
    after_bytes: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a partition is: the disk's device and, from 1, its number; 0 for the disk itself."""

    disk: str
    number: int


def place_of(device: str, sys_block: str = SYS_BLOCK) -> Place:
    """The disk that *device* is on."""
    name = os.path.basename(os.path.realpath(device))
    directory = f"{sys_block}/{name.replace('/', '!')}"
    number = read_text(directory, "partition")
    if not number.isdecimal():
        return Place(device, 0)
    disk = os.path.basename(os.path.dirname(os.path.realpath(directory)))
    return Place(f"/dev/{disk.replace('!', '/')}", int(number))


def grow(
    device: str,
    fstype: str,
    mount_point: str,
    *,
    partition: bool = True,
    file_system: bool = True,
    record: str = RECORD,
) -> Grown | None:
    """Grow what is mounted from *device* at *mount_point*; None if nothing was to be done. Blocks.

    Raises:
        InvalidArgument: the partition table does not allow it.
        OSError: the disk or the kernel does not.
    """
    place = place_of(device)
    disk_bytes = _size(place.disk)
    if _read_record(record) == disk_bytes:
        return None
    before = _file_system_bytes(mount_point)
    try:
        if partition and place.number:
            grow_partition(place)
    finally:
        if file_system:
            grow_file_system(device, fstype, mount_point)
    if partition and file_system:
        atomic_file.write_text(Path(record), f"{disk_bytes}\n", mode=0o600)
    after = _file_system_bytes(mount_point)
    return Grown(device, before, after) if after != before else None


def _read_record(path: str) -> int:
    try:
        text = Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return 0
    return int(text) if text.isdecimal() else 0


def _file_system_bytes(path: str) -> int:
    numbers = os.statvfs(path)
    return numbers.f_blocks * numbers.f_frsize


def _size(device: str) -> int:
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return block_ioctl.size_bytes(descriptor)
    finally:
        os.close(descriptor)


def grow_partition(place: Place) -> int:
    """Let the partition reach the end of its disk, in the table and in the kernel; bytes, or 0.

    Raises:
        InvalidArgument: it is not the last one, or the table is damaged.
        OSError: from the disk or the kernel.
    """
    descriptor = os.open(place.disk, _FLAGS)
    try:
        layout = plan_partition(descriptor, place.number)
        if layout is None:
            return 0
        for write in layout.writes:
            os.pwrite(descriptor, write.data, write.offset_bytes)
            os.fsync(descriptor)
        block_ioctl.change_partition(
            descriptor,
            PartitionChange.RESIZE,
            place.number,
            layout.start_bytes,
            layout.size_bytes,
        )
        return layout.size_bytes
    finally:
        os.close(descriptor)


def plan_partition(descriptor: int, number: int) -> partition_table.Layout | None:
    """What is to be written to the disk open as *descriptor*; reads its table.

    Raises:
        InvalidArgument, OSError: as above.
    """
    disk_bytes = block_ioctl.size_bytes(descriptor)
    sector = block_ioctl.sector_bytes(descriptor)
    header = os.pread(descriptor, sector, sector)
    if not header.startswith(GPT_MAGIC):
        sector0 = os.pread(descriptor, sector, 0)
        return partition_table.grow_mbr(sector0, number, disk_bytes, sector)
    found = partition_table.table_place(header, sector)
    assert found is not None, "it begins with the magic"
    entries = os.pread(descriptor, found[1], found[0])
    table = partition_table.parse_gpt(header, entries, sector)
    return partition_table.grow_gpt(table, number, disk_bytes)


def grow_file_system(device: str, fstype: str, mount_point: str) -> None:
    """Let the mounted file system fill *device*.

    Raises:
        InvalidArgument: its kind cannot.
        OSError: from the kernel.
    """
    device_bytes = _size(device)
    descriptor = os.open(mount_point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        match fstype:
            case "ext4":
                block_bytes = os.fstatvfs(descriptor).f_bsize
                block_ioctl.grow_ext4(descriptor, device_bytes, block_bytes)
            case "xfs":
                block_ioctl.grow_xfs(descriptor, device_bytes)
            case "btrfs":
                block_ioctl.grow_btrfs(descriptor)
            case _:
                raise InvalidArgument(f"{fstype} cannot grow while it is in use")
    finally:
        os.close(descriptor)
