"""The framing that carries stdout and stderr of a container over one connection.

Each frame is 8 bytes of header (stream number, three zero bytes, payload length big-endian) and the
payload. Source: Docker Engine API, "Attach to a container", section "Stream format".
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from orlop.wire.stdcopy_frames import HEADER, MAX_PAYLOAD_BYTES, take

__all__ = ["MAX_PAYLOAD_BYTES", "Decoder", "Frame", "LineFramer", "Stream", "encode"]

LINE_BYTES = 16 << 10
"""What is longer and has not ended yet is not waited for."""


class Stream(IntEnum):
    """Which of a process's standard descriptors; 3 carries an error text of the engine."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    SYSTEM_ERROR = 3


class Frame(NamedTuple):
    """One piece of one stream."""

    stream: Stream
    data: bytes


def encode(stream: Stream, data: bytes) -> bytes:
    """One frame; *data* has at most 4 GiB - 1 bytes."""
    return HEADER.pack(stream, len(data)) + data


class LineFramer:
    """Frames that hold one line each, as clients expect of a log: many take a frame for a line.

    What is written in pieces is put together, up to `LINE_BYTES`.
    """

    def __init__(self) -> None:
        self._begun = {Stream.STDOUT: b"", Stream.STDERR: b""}

    def feed(self, stream: Stream, data: bytes) -> bytes:
        """Frames of the lines that *data* ends; the rest is kept."""
        data = self._begun[stream] + data
        end = data.rfind(b"\n") + 1
        rest = data[end:]
        if len(rest) > LINE_BYTES:
            end, rest = len(data), b""
        self._begun[stream] = rest
        pack = HEADER.pack
        pieces: list[bytes] = []
        for line in data[:end].split(b"\n"):
            pieces += (pack(stream, len(line) + 1), line, b"\n")
        # After the last line break there is an empty piece, or a line that is not ended.
        last = pieces[-2]
        del pieces[-3:]
        if last:
            pieces += (pack(stream, len(last)), last)
        return b"".join(pieces)

    def flush(self) -> bytes:
        """Frames of what was begun and never ended."""
        left = {stream: data for stream, data in self._begun.items() if data}
        self._begun = dict.fromkeys(self._begun, b"")
        return b"".join(encode(stream, data) for stream, data in left.items())


class Decoder:
    """Takes bytes as they come and gives whole frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Frames completed by *data*.

        Raises:
            InvalidArgument: unknown stream, or a payload above `MAX_PAYLOAD_BYTES`.
        """
        self._buffer += data
        return [Frame(Stream(stream), payload) for stream, payload in take(self._buffer)]

    @property
    def pending_bytes(self) -> int:
        """Bytes of a frame not complete yet."""
        return len(self._buffer)
