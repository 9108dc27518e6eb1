"""Entries of a folder in a FAT file system: short names, and long ones of VFAT. Pure.

Names are ASCII. Source: Microsoft's FAT specification, 1.03 of 2000.
"""

from __future__ import annotations

import struct
import time

from orlop.lib.errors import InvalidArgument

ENTRY_BYTES = 32
LABEL, FOLDER, FILE = 0x08, 0x10, 0x20

LONG_NAME = 0x0F
_LONG_CHARACTERS = 13
_SHORT_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-~!#$%&'()@^`{}")
_LONG_NAME_BARRED = frozenset('"*/:<>?\\|')


def checked(name: str) -> str:
    fine = name.isascii() and name.isprintable() and not _LONG_NAME_BARRED.intersection(name)
    if not fine or not 0 < len(name) <= 255 or name[-1] in ". " or name[0] == " ":
        raise InvalidArgument(f"not a name for a file system of FAT: {name!r}")
    return name


def label_bytes(label: str) -> bytes:
    if not _SHORT_NAME.issuperset(label) or not 0 < len(label) <= 11:
        raise InvalidArgument(f"not a label for a file system of FAT: {label!r}")
    return label.encode("ascii").ljust(11)


def stamp_of(epoch: int) -> tuple[int, int]:
    """Time and date of FAT, in UTC. It knows 1980 to 2107."""
    at = time.gmtime(max(epoch, 315532800))
    clock = at.tm_hour << 11 | at.tm_min << 5 | at.tm_sec // 2
    return clock, min(at.tm_year - 1980, 127) << 9 | at.tm_mon << 5 | at.tm_mday


def entry(name: bytes, kind: int, first: int, size: int, stamp: tuple[int, int]) -> bytes:
    clock, day = stamp
    return struct.pack(
        "<11sBBBHHHHHHHI",
        *(name, kind, 0, 0, clock, day, day),
        *(first >> 16, clock, day, first & 0xFFFF, size),
    )


def is_short(name: str) -> bool:
    stem, dot, kind = name.partition(".")
    fits = 0 < len(stem) <= 8 and len(kind) <= 3 and bool(kind) == bool(dot)
    return fits and _SHORT_NAME.issuperset(stem + kind)


def plain(name: str) -> bytes:
    stem, _, kind = name.partition(".")
    return (stem.ljust(8) + kind.ljust(3)).encode("ascii")


def alias_of(name: str, taken: set[bytes]) -> bytes:
    """A short name for *name*: the specification's, with a number that makes it unique."""
    stem, _, kind = (
        name.upper().strip(".").rpartition(".") if "." in name else (name.upper(), "", "")
    )
    stem, kind = (
        "".join(letter if letter in _SHORT_NAME else "_" for letter in part if letter not in ". ")
        for part in (stem, kind)
    )
    number = 1
    while True:
        tail = f"~{number}"
        alias = (stem[: 8 - len(tail)] + tail).ljust(8) + kind[:3].ljust(3)
        if (found := alias.encode("ascii")) not in taken:
            return found
        number += 1


def entries_of(name: str) -> int:
    return 1 if is_short(name) else 1 + -(-len(name) // _LONG_CHARACTERS)


def long_entries(name: str, alias: bytes) -> bytes:
    """The entries with the long *name*, which stand before that of *alias*, the last part first."""
    check = 0
    for byte in alias:
        check = ((check & 1) << 7 | check >> 1) + byte & 0xFF
    count = entries_of(name) - 1
    # UTF-16 of ASCII, by hand: the codec for it is not in the image.
    text = b"".join(bytes((byte, 0)) for byte in name.encode("ascii"))
    if len(name) % _LONG_CHARACTERS:
        text = (text + b"\0\0").ljust(count * _LONG_CHARACTERS * 2, b"\xff")
    data = b""
    for number in range(count, 0, -1):
        part = text[(number - 1) * 26 : number * 26]
        last = 0x40 if number == count else 0
        data += struct.pack(
            "<B10sBBB12sH4s",
            *(number | last, part[:10], LONG_NAME, 0, check, part[10:22], 0, part[22:]),
        )
    return data
