"""What a machine has written to its disk, and how that disk is found when the power goes.

QEMU's `blklogwrites` records every write and every flush, in order, in the format of dm-log-writes:
a sector that describes the log, then a sector for each entry, behind it what was written. What was
written before a flush is on the disk from then on. What came after the last one may be there, or
not, or some sectors of it, in any order: that is up to the disk.
Source: Linux Documentation/admin-guide/device-mapper/log-writes.rst.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence
    from pathlib import Path

SECTOR_BYTES = 512
MAGIC = 0x6A736677736872
_SUPER, _ENTRY = struct.Struct("<QQQI"), struct.Struct("<QQQQ")
_FLUSH, _DISCARD = 1, 4


@dataclass(frozen=True, slots=True)
class Entry:
    """A write of *size_bytes* to *offset_bytes*, or a flush if that is 0. *place*: in the log."""

    offset_bytes: int
    size_bytes: int
    place: int

    @property
    def is_flush(self) -> bool:
        return not self.size_bytes


def read_log(path: Path, start: int = SECTOR_BYTES) -> tuple[list[Entry], int]:
    """The entries from *start* on, and where the next one will be.

    The first sector counts them; it is written with the flushes.
    """
    found: list[Entry] = []
    with path.open("rb") as log:
        end = os.fstat(log.fileno()).st_size
        magic, _, _, sector_bytes = _SUPER.unpack(log.read(_SUPER.size).ljust(_SUPER.size, b"\0"))
        assert (magic, sector_bytes) in {(MAGIC, SECTOR_BYTES), (0, 0)}
        while start + SECTOR_BYTES <= end:
            log.seek(start)
            sector, sectors, flags, _ = _ENTRY.unpack(log.read(_ENTRY.size))
            assert not flags & ~_FLUSH, "this disk takes no discards"
            size_bytes = sectors * SECTOR_BYTES
            found.append(Entry(sector * SECTOR_BYTES, size_bytes, start + SECTOR_BYTES))
            start += SECTOR_BYTES + size_bytes
    return found, start


class Lost(StrEnum):
    """What of the writes since the last flush a power cut takes."""

    NOTHING = "nothing"
    ALL = "all"
    SOME = "some"
    """Whole writes and single sectors of others."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The power goes after *count* entries. *seed* decides what is lost of `SOME`."""

    count: int
    lost: Lost
    seed: int = 0

    def __str__(self) -> str:
        seed = f", seed {self.seed}" if self.lost is Lost.SOME else ""
        return f"after write {self.count}, {self.lost} of what was not flushed is lost{seed}"


def cuts(entries: Sequence[Entry], number: int, rng: random.Random) -> list[Cut]:
    """*number* of those that can be told apart, over all of *entries*, in their order.

    At a flush nothing can be lost. Where only one write came since it, `SOME` is a torn one.
    """
    found, since = [], 0
    for count, entry in enumerate(entries, 1):
        since = 0 if entry.is_flush else since + 1
        found.append(Cut(count, Lost.NOTHING))
        if since:
            found.append(Cut(count, Lost.SOME, rng.randrange(1 << 32)))
        if since > 1:
            found.append(Cut(count, Lost.ALL))
    if number >= len(found):
        return found
    return sorted(rng.sample(found, number), key=lambda cut: (cut.count, cut.lost))


def survivors(
    pending: Sequence[Entry], lost: Lost, rng: random.Random
) -> list[tuple[Entry, int, int]]:
    """Pieces of *pending* that are on the disk: entry, offset in it, size; pure."""
    if lost is Lost.ALL:
        return []
    whole = [(entry, 0, entry.size_bytes) for entry in pending]
    if lost is Lost.NOTHING:
        return whole
    found: list[tuple[Entry, int, int]] = []
    for entry, _, size in whole:
        match rng.choice(("whole", "none", "torn")):
            case "whole":
                found.append((entry, 0, size))
            case "torn":
                sectors = range(0, size, SECTOR_BYTES)
                kept = [at for at in sectors if rng.random() < 0.5]
                found += [(entry, at, SECTOR_BYTES) for at in kept]
    return found
