"""Frames of `wire.stdcopy` as plain tuples: without what enumerations take to be imported, which a
command of the machine would wait for."""

from __future__ import annotations

import struct

from orlop.lib.errors import InvalidArgument

HEADER = struct.Struct(">BxxxI")
STDOUT, STDERR = 1, 2
MAX_KNOWN_STREAM = 3

MAX_PAYLOAD_BYTES = 1 << 20
"""A peer that announces more is not speaking this protocol: dockerd's frames hold one log line."""


def take(buffer: bytearray) -> list[tuple[int, bytes]]:
    """Remove the whole frames at the beginning of *buffer*: stream and payload of each.

    Raises:
        InvalidArgument: unknown stream, or a payload above `MAX_PAYLOAD_BYTES`.
    """
    frames = []
    position = 0
    try:
        while len(buffer) - position >= HEADER.size:
            stream, length = HEADER.unpack_from(buffer, position)
            if stream > MAX_KNOWN_STREAM or length > MAX_PAYLOAD_BYTES:
                raise InvalidArgument(f"not a frame: stream {stream}, {length} bytes")
            start = position + HEADER.size
            if len(buffer) < start + length:
                break
            frames.append((stream, bytes(buffer[start : start + length])))
            position = start + length
    finally:
        del buffer[:position]
    return frames
