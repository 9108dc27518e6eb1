"""Clusters of a FAT32 file system that belong to no file, given back.

A power cut between the writes for a new file leaves clusters that are taken and in no folder: it
damages nothing, but there is less room each time, and the kernel never looks. The file system must
not be mounted. Each entry of the table is set to free by itself: this may be interrupted as well.
"""

from __future__ import annotations

import os
import struct

from orlop.lib.errors import InvalidArgument
from orlop.lib.fat_entries import FOLDER
from orlop.lib.fat_reader import MAX_FOLDER_BYTES, FileSystem, described, entries

_BAD = 0x0FFFFFF7
_CLUSTER = 0x0FFFFFFF
_ENTRY_BYTES = 4
_INFO, _FREE_COUNT_AT, _UNKNOWN = b"RRaA", 488, b"\xff\xff\xff\xff"
_DOTS = {b".".ljust(11), b"..".ljust(11)}
_MAX_DEPTH = 16


def find(system: FileSystem) -> list[int]:
    """The clusters that no file has; pure.

    Raises:
        InvalidArgument: it is not FAT32, or two files have a cluster, or a chain leads nowhere, or
            a folder is too large to be read whole.
    """
    if system.bits != 32 or len(system.table) < system.end * _ENTRY_BYTES:
        raise InvalidArgument("this is not a file system of FAT32")
    owned = bytearray(system.end)
    _walk(system, system.root_cluster, owned, 0)
    table = memoryview(system.table)[: system.end * _ENTRY_BYTES].cast("I")
    return [
        cluster
        for cluster in range(2, system.end)
        if not owned[cluster] and table[cluster] & _CLUSTER not in (0, _BAD)
    ]


def _walk(system: FileSystem, first: int, owned: bytearray, depth: int) -> None:
    folder = system.content(first, MAX_FOLDER_BYTES)
    # Of what is not seen every file would be taken for lost.
    if depth > _MAX_DEPTH or len(folder) != _own(system, first, owned) * system.cluster_bytes:
        raise InvalidArgument("there are more folders, or larger ones, than can be looked through")
    for _, entry in entries(folder):
        kind, first, size = described(entry)
        if entry[:11] in _DOTS or not (first or size):
            continue
        if kind & FOLDER:
            _walk(system, first, owned, depth + 1)
        else:
            _own(system, first, owned)


def _own(system: FileSystem, first: int, owned: bytearray) -> int:
    """How many clusters there are from *first* on."""
    count = 0
    for cluster in system.chain(first):
        if owned[cluster]:
            raise InvalidArgument(f"cluster {cluster} belongs to two files")
        owned[cluster] = 1
        count += 1
    return count


def give_back(device: str) -> int:
    """Free the clusters of *device* that no file has; how many there were. Blocks.

    Raises:
        InvalidArgument: as `find`; nothing has changed.
        OSError: it cannot be read or written, or is mounted (EBUSY).
    """
    descriptor = os.open(device, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
    try:
        system = FileSystem(lambda offset, size: os.pread(descriptor, size, offset))
        clusters = find(system)
        if clusters:
            _free(descriptor, system, clusters)
        return len(clusters)
    finally:
        os.close(descriptor)


def _free(descriptor: int, system: FileSystem, clusters: list[int]) -> None:
    """The count of free clusters goes first: whoever mounts it then counts them himself."""
    if system.read(system.info_at, len(_INFO)) == _INFO:
        os.pwrite(descriptor, _UNKNOWN, system.info_at + _FREE_COUNT_AT)
        os.fsync(descriptor)
    for start in system.tables_at:
        for cluster in clusters:
            (value,) = struct.unpack_from("<I", system.table, cluster * _ENTRY_BYTES)
            at = start + cluster * _ENTRY_BYTES
            os.pwrite(descriptor, struct.pack("<I", value & ~_CLUSTER), at)
    os.fsync(descriptor)
