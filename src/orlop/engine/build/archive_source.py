"""A tar, compressed or not, read piece by piece: for ADD, and for a context as it arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.engine.store import compression
from orlop.wire import tar
from orlop.wire.tar import BLOCK, TarError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

READ_BYTES = 1 << 20


def unpacked(chunks: Iterable[bytes]) -> tuple[str, Iterator[bytes]]:
    """How *chunks* are compressed (empty: not), and what they unpack to."""
    iterator = iter(chunks)
    start = b""
    for data in iterator:
        start += data
        if len(start) >= compression.MAGIC_BYTES:
            break
    kind = compression.detect(start)
    return kind, _pieces(kind, start, iterator)


def _pieces(kind: str, start: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if not kind:
        if start:
            yield start
        yield from rest
        return
    decompressor = compression.open_decompressor(kind)
    yield from decompressor.feed(start)
    for data in rest:
        yield from decompressor.feed(data)
    decompressor.finish()


class PieceSource:
    """A `tar_reader.Source` over pieces as they come."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = b""
        self._taken = 0
        """How much of the piece has been read: cutting it each time would copy the rest."""
        self.position = 0

    def read(self, size: int) -> bytes:
        data = self._some(size)
        if len(data) < size:
            parts = [data]
            left = size - len(data)
            while left and (data := self._some(left)):
                parts.append(data)
                left -= len(data)
            data = b"".join(parts)
        self.position += len(data)
        return data

    def _some(self, size: int) -> bytes:
        """Up to *size* bytes of the present piece; empty only at the end."""
        while self._taken == len(self._piece):
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._piece, self._taken = piece, 0
        data = self._piece[self._taken : self._taken + size]
        self._taken += len(data)
        return data

    def skip(self, size: int) -> None:
        while size > 0:
            data = self.read(min(size, READ_BYTES))
            if not data:
                return
            size -= len(data)

    def pieces(self, size: int) -> Iterator[bytes]:
        """The next *size* bytes.

        Raises:
            TarError: there are fewer.
        """
        while size:
            data = self.read(min(size, READ_BYTES))
            if not data:
                raise TarError("unexpected EOF")
            yield data
            size -= len(data)

    def peek(self, size: int) -> bytes:
        """The next *size* bytes, which stay."""
        data = self._piece[self._taken :]
        while len(data) < size and (more := next(self._pieces, b"")):
            data += more
        self._piece, self._taken = data, 0
        return data[:size]


def open_archive(chunks: Iterable[bytes]) -> PieceSource | None:
    """The archive that *chunks* are; None when they are none, compressed or not."""
    try:
        _, pieces = unpacked(chunks)
        source = PieceSource(pieces)
        block = source.peek(BLOCK)
        if len(block) < BLOCK or tar.parse_block(block) is None:
            return None
    except (TarError, compression.CorruptStream):
        return None
    return source
