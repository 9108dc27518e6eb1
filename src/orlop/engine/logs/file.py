"""Reading blocks of log files by position, forwards and backwards, without reading whole files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orlop.engine.logs import format as log_format

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES = 128 << 10
"""Read at a time: a largest block of the pump fits, with its frame."""


def blocks_from(fd: int, offset: int) -> Iterator[tuple[log_format.Block, int, int]]:
    """Whole blocks from *offset* on, each with where it begins and ends.

    Ends where the file does, or where it is torn. May be called again from there when the file has
    grown.
    """
    while True:
        data = os.pread(fd, CHUNK_BYTES, offset)
        if len(data) == CHUNK_BYTES and log_format.decode(data) is None:
            data = os.pread(fd, log_format.MAX_PAYLOAD_BYTES + log_format.OVERHEAD_BYTES, offset)
        position = 0
        while (found := log_format.decode(data, position)) is not None:
            block, end = found
            yield block, offset + position, offset + end
            position = end
        if position == 0:
            return
        offset += position


def block_before(fd: int, end: int) -> tuple[log_format.Block, int] | None:
    """The block that ends at *end*, and where it begins; None at the beginning, or if torn."""
    tail_bytes = min(end, log_format.SIZE.size)
    tail = os.pread(fd, tail_bytes, end - tail_bytes)
    size = log_format.size_of_last(tail)
    if size is None or size > end:
        return None
    found = log_format.decode(os.pread(fd, size, end - size))
    if found is None or found[1] != size:
        return None
    return found[0], end - size


def whole_end(fd: int) -> int:
    """Where the last whole block ends. Quick when the file is whole, which is nearly always."""
    size = os.fstat(fd).st_size
    if size == 0 or block_before(fd, size) is not None:
        return size
    last = 0
    for _block, _start, end in blocks_from(fd, 0):
        last = end
    return last
