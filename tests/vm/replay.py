"""A disk as a power cut leaves it, made of what was recorded: `write_log`."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

from orlop.lib.process import run
from tests.vm.write_log import read_log, survivors

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import BinaryIO

    from tests.vm.write_log import Cut

PIECE_BYTES = 1 << 20


class Replay:
    """The file *judged* is made as it is after each cut: *before* with what *log* has."""

    def __init__(self, before: Path, log: Path, scratch: Path) -> None:
        self.entries, _ = read_log(log)
        self.judged = scratch / "judged.raw"
        self._log, self._now = log, scratch / "now.raw"
        for path in (self.judged, self._now):
            run(["cp", "--sparse=always", before, path])
        self._position = 0
        self._dirty: list[tuple[int, int]] = []

    def show(self, cut: Cut) -> list[tuple[int, int]]:
        """Make the disk as *cut* leaves it; cuts come in their order. Offsets and sizes of what
        may be another than before."""
        flushed = cut.count
        while flushed and not self.entries[flushed - 1].is_flush:
            flushed -= 1
        pending = self.entries[flushed : cut.count]
        pieces = survivors(pending, cut.lost, random.Random(cut.seed))
        with (
            self._log.open("rb") as log,
            self._now.open("r+b") as now,
            self.judged.open("r+b") as judged,
        ):
            for entry in self.entries[self._position : flushed]:
                _copy(log, entry.place, now, entry.offset_bytes, entry.size_bytes)
                self._dirty.append((entry.offset_bytes, entry.size_bytes))
            self._position = max(flushed, self._position)
            for offset, size in self._dirty:
                _copy(now, offset, judged, offset, size)
            changed, self._dirty = self._dirty, []
            for entry, at, size in pieces:
                _copy(log, entry.place + at, judged, entry.offset_bytes + at, size)
                self._dirty.append((entry.offset_bytes + at, size))
        return changed + self._dirty

    def put_back(self, written: Iterable[tuple[int, int]]) -> None:
        """Others have *written* to `judged`, offsets and sizes: the next cut finds it as before."""
        self._dirty += written


def _copy(source: BinaryIO, place: int, target: BinaryIO, offset: int, size: int) -> None:
    while size:
        data = os.pread(source.fileno(), min(size, PIECE_BYTES), place)
        if not data:  # beyond the end of a sparse file there is nothing
            data = bytes(min(size, PIECE_BYTES))
        os.pwrite(target.fileno(), data, offset)
        place, offset, size = place + len(data), offset + len(data), size - len(data)
