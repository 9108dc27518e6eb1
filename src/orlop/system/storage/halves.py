"""Halves of a mirror that were used one without the other: which counts, which is left alone.

A half says in its superblock which others it works with, so one that was written to alone knows
that the others are old. Two that say so of each other have both something that the other lacks:
no rule can join them. Source: Linux 6.12 include/uapi/linux/raid/md_p.h, drivers/md/md.c
(super_1_sync, calc_sb_1_csum).
"""

from __future__ import annotations

import os
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.system.storage.superblock import array_places

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

MAGIC = b"\xfc\x4e\x2b\xa9"
PLACES = (4096, 0)
"""Of metadata 1.2, which installations make, and 1.1; that of 1.0 is at the end."""
BLOCK_BYTES = 4096
OLDEST_S = 1_735_689_600
"""2025: no machine with this system has an earlier time."""
NOTE = "/run/orlop/parted-halves"
"""A line for each half that is left alone: its device, that of the one that counts, and when it was
used last, in seconds."""

_HEAD_BYTES = 256
_MAX_ROLE = 0xFF00
_LEVEL, _MIRROR, _PLACE = 72, 1, 144
_NUMBER, _IDENTITY, _UTIME, _EVENTS, _SUM, _ROLES = 160, 168, 192, 200, 216, 220
_SECONDS = (1 << 40) - 1
_MAX_NOTE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Half:
    """What the superblock on *device* says. *used_s*: when it was written, seconds since 1970."""

    device: str
    array: bytes
    number: int
    identity: bytes
    events: int
    used_s: int
    roles: tuple[int, ...]

    def works_with(self, other: Half) -> bool:
        """Whether *other* has what this one has, as far as this one knows."""
        return other.number < len(self.roles) and self.roles[other.number] < _MAX_ROLE


def parse(device: str, block: bytes) -> Half | None:
    """The half whose superblock is *block*, `BLOCK_BYTES`; None if it is none of a mirror; pure."""
    if len(block) < BLOCK_BYTES or block[:8] != MAGIC + b"\1\0\0\0":
        return None
    count = _u32(block, _ROLES)
    size = _HEAD_BYTES + 2 * count
    if _u32(block, _LEVEL) != _MIRROR or size > BLOCK_BYTES or checksum(block) != _u32(block, _SUM):
        return None
    return Half(
        device,
        block[16:32],
        _u32(block, _NUMBER),
        block[_IDENTITY : _IDENTITY + 16],
        _u64(block, _EVENTS),
        _u64(block, _UTIME) & _SECONDS,
        struct.unpack_from(f"<{count}H", block, _HEAD_BYTES),
    )


def checksum(block: bytes) -> int:
    """As the kernel computes it: of a torn superblock it is wrong; pure."""
    size = min(_HEAD_BYTES + 2 * _u32(block, _ROLES), BLOCK_BYTES)
    words = block[:_SUM] + bytes(4) + block[_SUM + 4 : size]
    total: int = sum(struct.unpack_from(f"<{size // 4}I", words))
    if size % 4:
        total += int.from_bytes(words[-2:], "little")
    return (total & 0xFFFFFFFF) + (total >> 32) & 0xFFFFFFFF


def read(device: str) -> Half | None:
    """The half on *device*; None if it is none, or cannot be read. May block."""
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        # What the kernel has written to a part of an array is not in the cache of the part.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        _, end = array_places(os.lseek(descriptor, 0, os.SEEK_END))
        for place in (*PLACES, max(end, 0)):
            block = os.pread(descriptor, BLOCK_BYTES, place)
            # That of a disk may be in its last partition as well.
            if _u64(block, _PLACE) * 512 == place and (half := parse(device, block)) is not None:
                return half
        return None
    except OSError:
        return None
    finally:
        os.close(descriptor)


def are_parted(one: Half, other: Half) -> bool:
    """Whether each was written to without the other; pure.

    A number may be given twice, once to a disk and once to that which replaces it: then only one
    says that the other is gone, and the other has gone on all the same.
    """
    if one.works_with(other) and other.works_with(one):
        return False
    if one.works_with(other):
        return one.events > other.events + 1
    return not other.works_with(one) or other.events > one.events + 1


def sort_out(found: Iterable[Half], held: Collection[str] = ()) -> list[tuple[Half, Half]]:
    """Those of *found* that are to be left alone, each with the one that counts; pure.

    That is one of the devices *held*, which are in use already; else one that no other knows to be
    old, and of several the one that was used last.
    """
    mirrors: dict[bytes, list[Half]] = {}
    for half in found:
        mirrors.setdefault(half.array, []).append(half)
    parted = []
    for halves in mirrors.values():
        first = max(halves, key=lambda half: _rank(half, halves, held))
        parted += [(h, first) for h in halves if h is not first and are_parted(h, first)]
    return parted


def _rank(half: Half, halves: Sequence[Half], held: Collection[str]) -> tuple[object, ...]:
    is_old = any(not o.works_with(half) and not are_parted(half, o) for o in halves)
    # Without a clock, which may come and go, events go on: the choice stays what it was.
    used_s = half.used_s if half.used_s >= OLDEST_S else 0
    return half.device in held, not is_old, used_s, half.events, half.identity


def note(parted: Iterable[tuple[Half, Half]], path: str = NOTE) -> None:
    """Let `noted` find *parted*, and nothing else."""
    lines = [f"{half.device} {first.device} {half.used_s}\n" for half, first in parted]
    if not lines:
        forget(path)
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, "".join(lines).encode()[:_MAX_NOTE_BYTES])
    finally:
        os.close(descriptor)


def forget(path: str = NOTE) -> None:
    """Nothing is parted any more."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def noted(devices: Collection[str], path: str = NOTE) -> list[tuple[str, int]]:
    """Halves that were left alone for one of *devices*, and when each was used last, in seconds."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            rows = [line.split() for line in stream.read(_MAX_NOTE_BYTES).splitlines()]
    except OSError:
        return []
    return [(row[0], int(row[2])) for row in rows if len(row) == 3 and row[1] in devices]


def when(used_s: int) -> str:
    """*used_s* for people."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(min(used_s, 1 << 34)))


def _u32(block: bytes, at: int) -> int:
    return int.from_bytes(block[at : at + 4], "little")


def _u64(block: bytes, at: int) -> int:
    return int.from_bytes(block[at : at + 8], "little")
