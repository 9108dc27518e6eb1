"""The format of log files: blocks of output as they were read, each with one time.

    magic "OL" | stream u8 | flags u8 | payload length u32 | time u64, ns | CRC-32 u32
    payload
    size of the whole block u32

All little-endian. Flag 1: the block goes on with a line that began in the file before, which may be
gone. The CRC covers the 16 bytes before it and the payload. The size at the end lets a reader go
backwards, which is what `--tail` wants. A block is a read, not a line: a line may span blocks and a
block hold thousands of lines. A file may end in a torn block after a crash: it ends, for every
reader, where the last whole block does.
"""

from __future__ import annotations

import struct
from binascii import crc32
from typing import NamedTuple

from orlop.wire.stdcopy import Stream

MAGIC = b"OL"
HEADER = struct.Struct("<2sBBIQ")
_CRC = struct.Struct("<I")
SIZE = struct.Struct("<I")
HEADER_BYTES = HEADER.size + _CRC.size
OVERHEAD_BYTES = HEADER_BYTES + SIZE.size
MAX_PAYLOAD_BYTES = 1 << 20
"""Nothing writes more in one block; a greater length is rubbish."""

_CONTINUES = 1


class Block(NamedTuple):
    """A piece of output, and when it was read (CLOCK_REALTIME)."""

    stream: Stream
    time_ns: int
    payload: bytes
    continues: bool = False
    """Whether it begins within a line of the file before."""


def encode(
    stream: Stream, time_ns: int, payload: bytes, *, continues: bool = False
) -> tuple[bytes, bytes, bytes]:
    """The three parts of a block, for writev(2)."""
    head = HEADER.pack(MAGIC, stream, _CONTINUES if continues else 0, len(payload), time_ns)
    return (
        head + _CRC.pack(crc32(payload, crc32(head))),
        payload,
        SIZE.pack(OVERHEAD_BYTES + len(payload)),
    )


def decode(data: bytes | memoryview, position: int = 0) -> tuple[Block, int] | None:
    """The block at *position* and the position after it; None if there is no whole one.

    "No whole block" is both "not yet" and "torn": who reads a file that grows tries again later.
    """
    if position < 0 or len(data) - position < OVERHEAD_BYTES:
        return None
    magic, stream, flags, length, time_ns = HEADER.unpack_from(data, position)
    if magic != MAGIC or length > MAX_PAYLOAD_BYTES or stream > Stream.STDERR:
        return None
    start = position + HEADER_BYTES
    end = start + length + SIZE.size
    if end > len(data):
        return None
    payload = bytes(data[start : start + length])
    (expected,) = _CRC.unpack_from(data, position + HEADER.size)
    head = bytes(data[position : position + HEADER.size])
    if crc32(payload, crc32(head)) != expected:
        return None
    return Block(Stream(stream), time_ns, payload, bool(flags & _CONTINUES)), end


def size_of_last(tail: bytes) -> int | None:
    """The size of the block whose last bytes are *tail*; None if no block has such an end."""
    if len(tail) < SIZE.size:
        return None
    (size,) = SIZE.unpack_from(tail, len(tail) - SIZE.size)
    return size if OVERHEAD_BYTES <= size <= OVERHEAD_BYTES + MAX_PAYLOAD_BYTES else None
