"""Reads a file out of a FAT file system without mounting it: FAT12, FAT16 and FAT32.

For the boot loader in a medium's EFI partition, and for looking at what was written. What is there
may be anything, so every length has a limit and no chain of clusters goes round in a circle. Pure.
Source: Microsoft's FAT specification, 1.03 of 2000.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument, NotFound
from orlop.lib.fat32 import MIN_CLUSTERS
from orlop.lib.fat_entries import ENTRY_BYTES, FOLDER, LABEL, LONG_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    type Read = Callable[[int, int], bytes]
    """`read(offset, size)`: up to *size* bytes from *offset*, fewer at the end."""

MAX_FILE_BYTES = 64 << 20
MAX_FOLDER_BYTES = 1 << 20
_MAX_TABLE_BYTES = 16 << 20
_FAT16_CLUSTERS = 4085
_DELETED, _LAST = 0xE5, 0
_LAST_PART = 0x40
_BOOT_SECTOR = struct.Struct("<11xHBHBHHxHHHIII")


class FileSystem:
    """The boot sector's numbers, and the allocation table."""

    def __init__(self, read: Read) -> None:
        self.read = read
        head = read(0, 512)
        if len(head) < 512 or head[510:] != b"\x55\xaa":
            raise InvalidArgument("this is not a file system of FAT")
        (
            sector,
            per_cluster,
            reserved,
            fats,
            root_entries,
            small,
            fat_small,
            *_,
            large,
            fat_large,
        ) = _BOOT_SECTOR.unpack_from(head)
        fat_sectors, sectors = fat_small or fat_large, small or large
        if sector not in {512, 1024, 2048, 4096} or not per_cluster or not fats or not reserved:
            raise InvalidArgument("this is not a file system of FAT")
        self.cluster_bytes = sector * per_cluster
        root_at = (reserved + fats * fat_sectors) * sector
        root_bytes = -(-root_entries * ENTRY_BYTES // sector) * sector
        self.data_at = root_at + root_bytes
        clusters = (sectors * sector - self.data_at) // self.cluster_bytes
        if clusters <= 0 or fat_sectors * sector > _MAX_TABLE_BYTES:
            raise InvalidArgument("the file system of FAT has an impossible size")
        self.bits = 12 if clusters < _FAT16_CLUSTERS else 16 if clusters < MIN_CLUSTERS else 32
        self.end = clusters + 2
        """The number after the last cluster's."""
        self.tables_at = [(reserved + fat_sectors * number) * sector for number in range(fats)]
        self.info_at = struct.unpack_from("<H", head, 48)[0] * sector
        self.table = read(self.tables_at[0], fat_sectors * sector)
        self.root_cluster = struct.unpack_from("<I", head, 44)[0] if self.bits == 32 else 0
        self.root = (
            self.content(self.root_cluster, MAX_FOLDER_BYTES)
            if self.bits == 32
            else read(root_at, root_bytes)
        )

    def content(self, first: int, limit_bytes: int) -> bytes:
        """The clusters from *first* on, up to *limit_bytes*.

        Raises:
            InvalidArgument: the chain leads nowhere.
        """
        pieces: list[bytes] = []
        left = limit_bytes
        for cluster in self.chain(first) if left > 0 else ():
            want = min(left, self.cluster_bytes)
            pieces.append(self.read(self.data_at + (cluster - 2) * self.cluster_bytes, want))
            left -= want
            if left <= 0:
                break
        return b"".join(pieces)

    def chain(self, first: int) -> Iterator[int]:
        """The clusters from *first* on; there may be no end to them.

        Raises:
            InvalidArgument: the chain leads nowhere.
        """
        cluster, begun = first, False
        while not (begun and cluster >= self.end):
            if not 2 <= cluster < self.end:
                raise InvalidArgument("a chain of clusters leads nowhere")
            yield cluster
            cluster, begun = self._next(cluster), True

    def _next(self, cluster: int) -> int:
        """What the table says, for any of the three kinds; an end is `end` or more."""
        at = cluster * self.bits // 8
        raw = self.table[at : at + 4].ljust(4, b"\0")
        if self.bits == 32:
            value: int = struct.unpack("<I", raw)[0] & 0x0FFFFFFF
            return value
        value = struct.unpack("<H", raw[:2])[0]
        if self.bits == 12:
            return value >> 4 if cluster & 1 else value & 0xFFF
        return value


def read_file(read: Read, path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """What is in the file *path* (`EFI/BOOT/BOOTX64.EFI`; capitals do not matter).

    Raises:
        NotFound: there is no such file.
        InvalidArgument: it has more than *max_bytes*; this is no file system of FAT, or a damaged
            one.
        OSError: from *read*.
    """
    system = FileSystem(read)
    *folders, name = path.split("/")
    kind, first, size = _find(_open(system, folders, path), name, path)
    if kind & FOLDER:
        raise NotFound(f"{path} is a folder")
    if size > max_bytes:
        raise InvalidArgument(f"{path} is too large")
    data = system.content(first, size) if size else b""
    if len(data) != size:
        raise InvalidArgument(f"{path} is shorter than its folder says")
    return data


def list_files(read: Read, path: str) -> dict[str, int]:
    """The files in the folder *path*, with their sizes; not those in folders of it.

    Raises:
        NotFound, InvalidArgument, OSError: as `read_file`.
    """
    folder = _open(FileSystem(read), path.split("/"), path)
    found = {name: described(entry) for name, entry in entries(folder)}
    return {name: size for name, (kind, _, size) in found.items() if not kind & FOLDER}


def _open(system: FileSystem, folders: Sequence[str], path: str) -> bytes:
    folder = system.root
    for part in folders:
        kind, first, _ = _find(folder, part, path)
        if not kind & FOLDER:
            raise NotFound(f"there is no {path}")
        folder = system.content(first, MAX_FOLDER_BYTES)
    return folder


def _find(folder: bytes, name: str, path: str) -> tuple[int, int, int]:
    """Attributes, first cluster and size of *name*."""
    for found, entry in entries(folder):
        if found.upper() == name.upper():
            return described(entry)
    raise NotFound(f"there is no {path}")


def described(entry: bytes) -> tuple[int, int, int]:
    """Attributes, first cluster and size of what *entry* names."""
    kind, high, low, size = entry[11], entry[20:22], entry[26:28], entry[28:32]
    return kind, int.from_bytes(low + high, "little"), int.from_bytes(size, "little")


def entries(folder: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and entries: each under its long name if it has one, else under its short one."""
    long = b""
    for at in range(0, len(folder) - ENTRY_BYTES + 1, ENTRY_BYTES):
        entry = folder[at : at + ENTRY_BYTES]
        if entry[0] == _LAST:
            return
        if entry[11] == LONG_NAME and entry[0] != _DELETED:
            # What comes before the last part, which is the first here, is of another name.
            rest = b"" if entry[0] & _LAST_PART else long
            long = entry[1:11] + entry[14:26] + entry[28:32] + rest
            continue
        if entry[0] != _DELETED and not entry[11] & LABEL:
            # UTF-16, of which only ASCII can be looked for: the codec is not in the image.
            name = long[::2].partition(b"\0")[0] if long else _short(entry)
            yield name.rstrip(b"\xff").decode("latin-1"), entry
        long = b""


def _short(entry: bytes) -> bytes:
    stem, kind = entry[:8].rstrip(), entry[8:11].rstrip()
    return stem + b"." + kind if kind else stem
