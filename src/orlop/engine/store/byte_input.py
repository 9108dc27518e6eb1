"""Where a worker reads from: a file or pipe to its end, or the body of an HTTP request.

The socket of a client is given to the worker as it is, so that hundreds of megabytes do not pass
through the engine; what the engine had received already comes beside it. The worker takes the
framing of the body apart.
"""

from __future__ import annotations

import os
import re
import select
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.wire.tar import TarError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

READ_BYTES = 1 << 20
MAX_LINE_BYTES = 4096
TIMEOUT_MS = 120_000
"""A client that sends nothing for so long is gone."""

TO_END = "end"
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")


@dataclass(frozen=True, slots=True)
class ByteInput:
    """*framing* says how the end is told; *left* counts bytes where it is a length.

    *buffered* is what comes before that which is read from *descriptor*.
    """

    descriptor: int
    framing: str = TO_END
    left: int = 0
    buffered: bytes = b""


class InputReader:
    """In the worker: pieces of the input in order."""

    def __init__(
        self, descriptor: int, job: Mapping[str, object], buffered: int | None = None
    ) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._buffer = memoryview(_read_all(buffered) if buffered is not None else b"")
        left = job.get("left", 0)
        assert isinstance(left, int)
        match job.get("framing", TO_END):
            case "length":
                self._pieces = self._length(left)
            case "chunks":
                self._pieces = self._chunks()
            case _:
                self._pieces = self._to_end()

    def read(self) -> bytes | memoryview:
        """The next piece; empty at the end.

        Raises:
            TarError: the sender broke off.
        """
        return next(self._pieces, b"")

    def drain(self) -> None:
        """Take what is left and forget it: its sender waits for that before it looks for an answer.

        A sender who broke off is no error here.
        """
        try:
            while self.read():
                pass
        except (TarError, OSError):
            return

    def _receive(self, size: int = READ_BYTES) -> bytes:
        while True:
            try:
                return os.read(self._descriptor, size)
            except BlockingIOError:
                if not self._poll.poll(TIMEOUT_MS):
                    return b""

    def _to_end(self) -> Iterator[bytes | memoryview]:
        if self._buffer:
            yield self._buffer
        while data := self._receive():
            yield data

    def _length(self, left: int) -> Iterator[bytes | memoryview]:
        yield from self._exactly(left)

    def _exactly(self, left: int) -> Iterator[memoryview]:
        while left:
            if not self._buffer:
                self._buffer = memoryview(self._receive())
                if not self._buffer:
                    raise TarError("unexpected EOF")
            piece, self._buffer = self._buffer[:left], self._buffer[left:]
            left -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes | memoryview]:
        while size := self._chunk_size():
            yield from self._exactly(size)
            if self._line():
                raise TarError("a chunk is longer than its size")
        while self._line():
            pass

    def _chunk_size(self) -> int:
        text = self._line().partition(b";")[0].strip()
        if not _CHUNK_SIZE.fullmatch(text):
            raise TarError("a chunk without a size")
        return int(text, 16)

    def _line(self) -> bytes:
        line = bytearray()
        while True:
            head = bytes(self._buffer[:MAX_LINE_BYTES])
            end = head.find(b"\n")
            if end >= 0:
                line += head[:end]
                self._buffer = self._buffer[end + 1 :]
                return bytes(line).rstrip(b"\r")
            line += head
            if len(line) > MAX_LINE_BYTES:
                raise TarError("a line of the body's framing is too long")
            self._buffer = self._buffer[len(head) :]
            if not self._buffer:
                self._buffer = memoryview(self._receive())
                if not self._buffer:
                    raise TarError("unexpected EOF")


def _read_all(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, size, 0)
