"""Walks through a tar archive: from a file by offset, or from a stream as it comes."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from orlop.wire import tar
from orlop.wire.tar import BLOCK, Extension, Header, TarError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Source(Protocol):
    """Where an archive is read from."""

    position: int
    """Bytes read or skipped so far."""

    def read(self, size: int) -> bytes:
        """The next *size* bytes, fewer only at the end."""

    def skip(self, size: int) -> None:
        """Pass over *size* bytes."""


class FileSource:
    """A file that can be read at any place; only what is asked for is read."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.position = 0

    def read(self, size: int) -> bytes:
        data = os.pread(self._descriptor, size, self.position)
        while len(data) < size:
            more = os.pread(self._descriptor, size - len(data), self.position + len(data))
            if not more:
                break
            data += more
        self.position += len(data)
        return data

    def skip(self, size: int) -> None:
        self.position += size


def entries(source: Source) -> Iterator[tuple[Header, int]]:
    """Each entry with the position of its data in *source*, which the caller may read or not.

    Raises:
        TarError: it is no archive, or ends in the middle of an entry.
    """
    global_records: dict[bytes, bytes] = {}
    while True:
        found = _next_header(source, global_records)
        if found is None:
            return
        header, data_at = found
        yield header, data_at
        end = data_at + header.padded_size
        if source.position > end:
            raise TarError("an entry was read beyond its end")
        source.skip(end - source.position)


def _next_header(source: Source, global_records: dict[bytes, bytes]) -> tuple[Header, int] | None:
    records: dict[bytes, bytes] = {}
    names: dict[str, bytes] = {}
    while True:
        block = source.read(BLOCK)
        # An archive without the blocks that end it is taken, as everybody does.
        if not block:
            if records or names:
                raise TarError("unexpected EOF")
            return None
        if len(block) < BLOCK:
            raise TarError("unexpected EOF")
        raw = tar.parse_block(block)
        if raw is None:
            return None
        if not tar.is_extension(raw.flag):
            break
        data = _extension_data(source, raw.size)
        match raw.flag:
            case Extension.PAX:
                records.update(tar.parse_pax(data))
            case Extension.PAX_GLOBAL:
                global_records.update(tar.parse_pax(data))
            case _:
                names["name" if raw.flag == Extension.GNU_NAME else "link"] = data.split(b"\0")[0]
    return _complete(source, raw, names, global_records | records), source.position


def _complete(
    source: Source, raw: tar.RawHeader, names: dict[str, bytes], records: dict[bytes, bytes]
) -> Header:
    tar.check_flag(raw)
    header = replace(raw.header, **names) if names else raw.header  # type: ignore[arg-type]
    if records:
        header = tar.apply_pax(header, records, raw.size)
    if raw.gnu_sparse:
        return _old_sparse(source, raw, header)
    return _pax_sparse(source, header, records) if records else header


def _extension_data(source: Source, size: int) -> bytes:
    if size > tar.MAX_EXTENSION_BYTES:
        raise TarError("a header of the archive is too large")
    padded = -(-size // BLOCK) * BLOCK
    data = source.read(padded)
    if len(data) < padded:
        raise TarError("unexpected EOF")
    return data[:size]


def _old_sparse(source: Source, raw: tar.RawHeader, header: Header) -> Header:
    numbers, real_size, more = tar.parse_gnu_sparse(raw)
    while more:
        block = source.read(BLOCK)
        if len(block) < BLOCK or len(numbers) > tar.MAX_EXTENSION_BYTES:
            raise TarError("invalid sparse map")
        further, more = tar.parse_gnu_sparse_more(block)
        numbers += further
    return tar.with_gnu_sparse(header, numbers, real_size)


def _pax_sparse(source: Source, header: Header, records: dict[bytes, bytes]) -> Header:
    if not tar.is_sparse_1_0(records):
        return tar.sparse_of_pax(header, records) or header
    data = b""
    while True:
        block = source.read(BLOCK)
        if len(block) < BLOCK or len(data) >= header.size:
            raise TarError("invalid sparse map")
        data += block
        found = tar.parse_sparse_1_0(header, records, data)
        if found is not None:
            changed, length = found
            if length != len(data):
                raise TarError("invalid sparse map")
            return changed
