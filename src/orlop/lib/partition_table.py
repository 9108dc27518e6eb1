"""Partition tables: making one, and growing the last partition of one.

Pure: from sectors that were read to sectors that are to be written. GPT with sectors of any size,
and the four primary partitions of an MBR. Sources: UEFI 2.10 chapter 5.
"""

from __future__ import annotations

import struct
from binascii import crc32
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Sequence

ALIGNMENT_BYTES = 1 << 20
GPT_MAGIC = b"EFI PART"
LINUX_DATA = bytes.fromhex("af3dc60f838472478e793d69d8477de4")
"""0FC63DAF-8483-4772-8E79-3D69D8477DE4 as it lies on a disk: a file system of Linux."""
EFI_SYSTEM = bytes.fromhex("28732ac11ff8d211ba4b00a0c93ec93b")
"""C12A7328-F81F-11D2-BA4B-00A0C93EC93B: what UEFI firmware starts from."""
BIOS_BOOT = bytes.fromhex("4861682149646f6e744e656564454649")
"""21686148-6449-6E6F-744E-656564454649: GRUB for a BIOS, without a file system."""

_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_REVISION, _HEADER_BYTES = 0x00010000, 92
_ENTRY_BYTES, _ENTRIES = 128, 128
_MAX_TABLE_BYTES = 1 << 18
"""More entries than anybody has: what a disk says of itself may be anything."""
MAX_SECTORS = 1 << 48
"""More than any disk has; many more would be a place in bytes that no system call takes."""

_BOOT_CODE_BYTES = 440
_MBR_TABLE, _MBR_ENTRY = 446, struct.Struct("<B3sB3sII")
_MBR_EXTENDED = frozenset({0x05, 0x0F, 0x85})
_MBR_PROTECTIVE = 0xEE

MARK_AT = _MBR_TABLE
"""Where in the first sector of a disk that is being divided a mark says whose work that is."""


@dataclass(frozen=True, slots=True)
class Write:
    """*data* is to be on the disk, for good, before the next write begins."""

    offset_bytes: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition to be made; *kind* is the GUID of its type as it lies on a disk."""

    name: str
    kind: bytes
    start_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Layout:
    """What to write, in this order, and where the partition then is."""

    writes: tuple[Write, ...]
    start_bytes: int
    size_bytes: int


class _Header(NamedTuple):
    """The fields of a GPT's header, in their order."""

    magic: bytes
    revision: int
    size: int
    crc: int
    reserved: int
    own_sector: int
    other_sector: int
    first_usable: int
    last_usable: int
    disk_guid: bytes
    table_sector: int
    entries: int
    entry_bytes: int
    table_crc: int


@dataclass(frozen=True, slots=True)
class Gpt:
    """A checked GPT; *entries* is the table as it lies on the disk."""

    header: _Header
    entries: bytes
    sector_bytes: int


def table_place(header: bytes, sector_bytes: int) -> tuple[int, int] | None:
    """Where the entries of a GPT are, and how many bytes, by its *header*; None if that is none.

    Raises:
        InvalidArgument: it is one, but damaged.
    """
    if not header.startswith(GPT_MAGIC):
        return None
    fields = _Header._make(_HEADER.unpack_from(header))
    if not _HEADER_BYTES <= fields.size <= min(512, len(header)):
        raise InvalidArgument("the partition table's header has an impossible size")
    if crc32(header[:16] + bytes(4) + header[20 : fields.size]) != fields.crc:
        raise InvalidArgument("the partition table's header is damaged")
    count, each = fields.entries, fields.entry_bytes
    if each < _ENTRY_BYTES or each % 8 or not 0 < count * each <= _MAX_TABLE_BYTES:
        raise InvalidArgument("the partition table has an impossible size")
    if fields.table_sector > MAX_SECTORS:
        raise InvalidArgument("the partition table is in an impossible place")
    return fields.table_sector * sector_bytes, count * each


def parse_gpt(header: bytes, entries: bytes, sector_bytes: int) -> Gpt:
    """The table of a *header* that `table_place` has looked at.

    Raises:
        InvalidArgument: it is damaged.
    """
    fields = _Header._make(_HEADER.unpack_from(header))
    if len(entries) != fields.entries * fields.entry_bytes or crc32(entries) != fields.table_crc:
        raise InvalidArgument("the partition table is damaged")
    return Gpt(fields, entries, sector_bytes)


def grow_gpt(table: Gpt, number: int, disk_bytes: int) -> Layout | None:
    """Let partition *number* end where a disk of *disk_bytes* does; None if it does already.

    The second copy of the table is written first, at the new end: until the first copy is replaced,
    that one counts, and says what it said before.

    Raises:
        InvalidArgument: there is no such partition, or another one comes behind it.
    """
    sector, each = table.sector_bytes, table.header.entry_bytes
    place = (number - 1) * each
    first, last = _extent(table.entries, place)
    if not 0 < number <= len(table.entries) // each or not first or last < first:
        raise InvalidArgument(f"the table has no partition {number}")
    for other in range(0, len(table.entries), each):
        if _extent(table.entries, other)[0] > first:
            raise InvalidArgument(f"partition {other // each + 1} is behind partition {number}")
    end = disk_bytes // sector
    table_sectors = -(-len(table.entries) // sector)
    last_usable = end - table_sectors - 2
    aligned = (last_usable + 1) * sector // ALIGNMENT_BYTES * ALIGNMENT_BYTES // sector - 1
    if aligned - last < ALIGNMENT_BYTES // sector:
        return None
    entries = bytearray(table.entries)
    struct.pack_into("<Q", entries, place + 40, aligned)
    header = table.header._replace(last_usable=last_usable, table_crc=crc32(entries))
    writes = _copies(header, bytes(entries), end, sector)
    return Layout(writes, first * sector, (aligned - first + 1) * sector)


def make_gpt(name: str, disk_bytes: int, sector_bytes: int, guids: bytes) -> Layout:
    """A new table with one partition *name* over the whole disk. *guids*: 32 random bytes.

    The very last write is that of the first sector, from which on the table counts.
    """
    whole = Partition(name, LINUX_DATA, ALIGNMENT_BYTES, usable_end(disk_bytes, sector_bytes))
    whole = replace(whole, size_bytes=whole.size_bytes - ALIGNMENT_BYTES)
    writes = make_table((whole,), disk_bytes, sector_bytes, guids)
    return Layout(writes, whole.start_bytes, whole.size_bytes)


def usable_end(disk_bytes: int, sector_bytes: int) -> int:
    """Where, in bytes, the last partition of a new table has to end: the table's copy is behind."""
    table_sectors = -(-_ENTRIES * _ENTRY_BYTES // sector_bytes)
    end = (disk_bytes // sector_bytes - table_sectors - 1) * sector_bytes
    return end // ALIGNMENT_BYTES * ALIGNMENT_BYTES


def make_table(
    partitions: Sequence[Partition],
    disk_bytes: int,
    sector_bytes: int,
    guids: bytes,
    boot_code: bytes = b"",
) -> tuple[Write, ...]:
    """A new table with *partitions*. *guids*: 16 random bytes for the disk and each of them.

    *boot_code*, up to 440 bytes, is what a BIOS executes. The very last write is that of the first
    sector: without it no firmware and no kernel looks for the table, and a disk writes a sector as
    a whole or not at all.

    Raises:
        InvalidArgument: the partitions overlap, are not aligned, or do not fit.
    """
    _check(partitions, disk_bytes, sector_bytes)
    end = disk_bytes // sector_bytes
    table_sectors = -(-_ENTRIES * _ENTRY_BYTES // sector_bytes)
    own = [random_guid(guids[at : at + 16]) for at in range(0, len(guids), 16)]
    if len(own) != len(partitions) + 1 or len(boot_code) > _BOOT_CODE_BYTES:
        raise InvalidArgument("not one GUID for each partition, or too much code to boot")
    rows = [
        _entry(part, guid, sector_bytes) for part, guid in zip(partitions, own[1:], strict=True)
    ]
    entries = b"".join(rows).ljust(_ENTRIES * _ENTRY_BYTES, b"\0")
    header = _Header(
        magic=GPT_MAGIC,
        revision=_REVISION,
        size=_HEADER_BYTES,
        crc=0,
        reserved=0,
        own_sector=1,
        other_sector=end - 1,
        first_usable=2 + table_sectors,
        last_usable=end - table_sectors - 2,
        disk_guid=own[0],
        table_sector=2,
        entries=_ENTRIES,
        entry_bytes=_ENTRY_BYTES,
        table_crc=crc32(entries),
    )
    start = _protective_mbr(end, boot_code).ljust(sector_bytes, b"\0")
    return (*_copies(header, entries, end, sector_bytes), Write(0, start))


def marked_sector(mark: bytes, sector_bytes: int) -> Write:
    """The first sector of a disk that is not divided yet: nothing starts from it."""
    return Write(0, (bytes(MARK_AT) + mark).ljust(sector_bytes, b"\0"))


def _check(partitions: Sequence[Partition], disk_bytes: int, sector_bytes: int) -> None:
    free = ALIGNMENT_BYTES
    for part in sorted(partitions, key=lambda part: part.start_bytes):
        if (part.start_bytes | part.size_bytes) % ALIGNMENT_BYTES or part.size_bytes <= 0:
            raise InvalidArgument(
                f"partition {part.name} is not aligned to {ALIGNMENT_BYTES} bytes"
            )
        if part.start_bytes < free:
            raise InvalidArgument(f"partition {part.name} overlaps what is before it")
        free = part.start_bytes + part.size_bytes
    if free > usable_end(disk_bytes, sector_bytes) or len(partitions) > _ENTRIES:
        raise InvalidArgument(f"the partitions do not fit on a disk of {disk_bytes} bytes")


def _entry(part: Partition, guid: bytes, sector_bytes: int) -> bytes:
    first = part.start_bytes // sector_bytes
    last = first + part.size_bytes // sector_bytes - 1
    # UTF-16 of ASCII, by hand: the codec for it is not in the image.
    name = b"".join(bytes((byte, 0)) for byte in part.name.encode("ascii"))
    return part.kind + guid + struct.pack("<QQQ", first, last, 0) + name[:72].ljust(72, b"\0")


def _copies(header: _Header, entries: bytes, end: int, sector: int) -> tuple[Write, Write]:
    """The copy at the end of the disk, and the one that counts.

    Raises:
        InvalidArgument: between header and table is something else, and one write cannot do both.
    """
    if header.table_sector != 2:
        raise InvalidArgument(f"the table begins in sector {header.table_sector}, not in 2")
    table = entries.ljust(-(-len(entries) // sector) * sector, b"\0")
    last = end - 1
    table_at = last - len(table) // sector
    copy = header._replace(own_sector=last, other_sector=1, table_sector=table_at)
    first = header._replace(own_sector=1, other_sector=last)
    return (
        Write(table_at * sector, table + _packed(copy, sector)),
        Write(sector, _packed(first, sector) + table),
    )


def _packed(header: _Header, sector: int) -> bytes:
    header = header._replace(size=_HEADER_BYTES, crc=0)
    header = header._replace(crc=crc32(_HEADER.pack(*header)))
    return _HEADER.pack(*header).ljust(sector, b"\0")


def _extent(entries: bytes, place: int) -> tuple[int, int]:
    """First and last sector of the entry at *place*; zeros for an unused one."""
    if not any(entries[place : place + 16]) or len(entries) < place + 48:
        return 0, 0
    first, last = struct.unpack_from("<QQ", entries, place + 32)
    return first, last


def random_guid(raw: bytes) -> bytes:
    """With the marks of version 4, whose first three fields are little-endian."""
    data = bytearray(raw)
    data[7] = data[7] & 0x0F | 0x40
    data[8] = data[8] & 0x3F | 0x80
    return bytes(data)


def _protective_mbr(end: int, boot_code: bytes) -> bytes:
    """With *boot_code*, an entry that is active and empty: some BIOSes start nothing else."""
    whole = _MBR_ENTRY.pack(
        0, b"\0\2\0", _MBR_PROTECTIVE, b"\xff\xff\xff", 1, min(end - 1, 2**32 - 1)
    )
    active = _MBR_ENTRY.pack(0x80, b"\0\1\0", 0, b"\0\1\0", 0, 1) if boot_code else b""
    table = (whole + active).ljust(4 * _MBR_ENTRY.size, b"\0")
    return boot_code.ljust(_MBR_TABLE, b"\0") + table + b"\x55\xaa"


def grow_mbr(sector0: bytes, number: int, disk_bytes: int, sector_bytes: int) -> Layout | None:
    """As `grow_gpt`, for a primary partition of a table whose sector is *sector0*.

    Raises:
        InvalidArgument: there is no such table or partition, or another one is behind it.
    """
    if sector0[510:512] != b"\x55\xaa" or not 1 <= number <= 4:
        raise InvalidArgument(f"there is no primary partition {number}")
    rows = [_MBR_ENTRY.unpack_from(sector0, _MBR_TABLE + 16 * row) for row in range(4)]
    flag, chs_first, kind, _, first, count = rows[number - 1]
    if not kind or not count or kind in {*_MBR_EXTENDED, _MBR_PROTECTIVE}:
        raise InvalidArgument(f"partition {number} is none that can grow")
    for other, row in enumerate(rows, 1):
        if row[2] and row[4] > first:
            raise InvalidArgument(f"partition {other} is behind partition {number}")
    unit = ALIGNMENT_BYTES // sector_bytes
    end = min(disk_bytes // sector_bytes // unit * unit, first + 2**32 - 1)
    if end - (first + count) < unit:
        return None
    grown = _MBR_ENTRY.pack(flag, chs_first, kind, b"\xfe\xff\xff", first, end - first)
    at = _MBR_TABLE + 16 * (number - 1)
    sector = sector0[:at] + grown + sector0[at + 16 :]
    return Layout((Write(0, sector),), first * sector_bytes, (end - first) * sector_bytes)
