"""Reads one file of a small UDF disk that is in memory: Azure leaves its custom data on one.

Only what such a disk has: one volume, plain partitions of 2048-byte blocks, files in the root.
Every number is checked against the image, and loops are bounded: the bytes may be hostile. Pure.

Source: ECMA-167, third edition; OSTA UDF 1.02 and 2.01.
"""

from __future__ import annotations

import struct
from struct import unpack_from
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK_BYTES = 2048
MAX_EXTENTS = 64
MAX_ENTRIES = 256
MAX_DESCRIPTORS = 64

_ANCHOR = 256
"""The block where a volume says where its description is."""

_TAG_ANCHOR, _TAG_PARTITION, _TAG_VOLUME, _TAG_END = 2, 5, 6, 8
_TAG_FILE_SET, _TAG_FILE_ID, _TAG_FILE, _TAG_EXTENDED_FILE = 256, 257, 261, 266
_DELETED, _PARENT = 4, 8
_SHORT, _LONG, _EMBEDDED = 0, 1, 3


def read_file(image: bytes, name: str) -> bytes | None:
    """The file *name* of the root directory, None if there is none.

    Raises:
        InvalidArgument: the image is no such disk, or damaged.
    """
    try:
        return _Disk(image).read_file(name)
    except (IndexError, ValueError, struct.error) as error:
        raise InvalidArgument(f"a damaged UDF disk: {error}") from error


class _Disk:
    def __init__(self, image: bytes) -> None:
        self._image = image
        self._starts: dict[int, int] = {}
        self._maps: list[int] = []
        self._file_set = (0, 0)
        length, start = unpack_from("<II", self._tagged(_ANCHOR, _TAG_ANCHOR), 16)
        for block in range(start, start + min(length // BLOCK_BYTES, MAX_DESCRIPTORS)):
            data = self._block(block)
            tag = unpack_from("<H", data)[0]
            if tag == _TAG_PARTITION:
                number, first = unpack_from("<H", data, 22)[0], unpack_from("<I", data, 188)[0]
                self._starts[number] = first
            elif tag == _TAG_VOLUME:
                self._read_volume(data)
            elif tag == _TAG_END:
                break

    def _read_volume(self, data: bytes) -> None:
        block_bytes = unpack_from("<I", data, 212)[0]
        if block_bytes != BLOCK_BYTES:
            raise ValueError(f"blocks of {block_bytes} bytes")
        self._file_set = unpack_from("<IH", data, 248 + 4)
        count, at = unpack_from("<I", data, 268)[0], 440
        for _ in range(min(count, 4)):
            kind, size = data[at], data[at + 1]
            if kind != 1 or size != 6:
                raise ValueError(f"a partition map of kind {kind}")
            self._maps.append(unpack_from("<H", data, at + 4)[0])
            at += size

    def read_file(self, name: str) -> bytes | None:
        block, partition = self._file_set
        file_set = self._tagged(self._absolute(block, partition), _TAG_FILE_SET)
        root, partition = unpack_from("<IH", file_set, 400 + 4)
        for found, place in self._entries(self._content(root, partition)):
            if found.lower() == name.lower():
                return self._content(*place)
        return None

    def _entries(self, directory: bytes) -> Iterator[tuple[str, tuple[int, int]]]:
        """Names and places of the files in a directory."""
        at = 0
        for _ in range(MAX_ENTRIES):
            if at + 38 > len(directory):
                return
            if unpack_from("<H", directory, at)[0] != _TAG_FILE_ID:
                raise ValueError("a directory without entries")
            flags, name_length = directory[at + 18], directory[at + 19]
            place = unpack_from("<IH", directory, at + 20 + 4)
            extra = unpack_from("<H", directory, at + 36)[0]
            start = at + 38 + extra
            if not flags & (_DELETED | _PARENT):
                yield _name(directory[start : start + name_length]), place
            at = (start + name_length + 3) & ~3

    def _content(self, block: int, partition: int) -> bytes:
        """The content of the file whose entry is at *block*."""
        entry = self._block(self._absolute(block, partition))
        tag = unpack_from("<H", entry)[0]
        if tag not in (_TAG_FILE, _TAG_EXTENDED_FILE):
            raise ValueError(f"no file entry, but {tag}")
        size = unpack_from("<Q", entry, 56)[0]
        if size > len(self._image):
            raise ValueError(f"a file of {size} bytes")
        lengths_at = 168 if tag == _TAG_FILE else 208
        attributes, descriptors = unpack_from("<II", entry, lengths_at)
        start = lengths_at + 8 + attributes
        area = entry[start : start + descriptors]
        kind = unpack_from("<H", entry, 34)[0] & 7
        if kind == _EMBEDDED:
            content = area
        elif kind in (_SHORT, _LONG):
            content = b"".join(self._extents(area, 8 if kind == _SHORT else 16, partition))
        else:
            raise ValueError(f"extents of kind {kind}")
        if len(content) < size:
            raise ValueError("a file is shorter than it says")
        return content[:size]

    def _extents(self, area: bytes, step: int, partition: int) -> Iterator[bytes]:
        for at in range(0, min(len(area) - step + 1, step * MAX_EXTENTS), step):
            length, block = unpack_from("<II", area, at)
            where = partition if step == 8 else unpack_from("<H", area, at + 8)[0]
            if length >> 30:
                raise ValueError("an extent without data")
            if not length:
                return
            start = self._absolute(block, where) * BLOCK_BYTES
            if start + length > len(self._image):
                raise ValueError("an extent beyond the end")
            yield self._image[start : start + length]

    def _absolute(self, block: int, partition: int) -> int:
        if partition >= len(self._maps) or self._maps[partition] not in self._starts:
            raise ValueError(f"there is no partition {partition}")
        return self._starts[self._maps[partition]] + block

    def _block(self, number: int) -> bytes:
        data = self._image[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]
        if len(data) != BLOCK_BYTES:
            raise ValueError(f"block {number} is beyond the end")
        return data

    def _tagged(self, number: int, tag: int) -> bytes:
        data = self._block(number)
        found = unpack_from("<H", data)[0]
        if found != tag:
            raise ValueError(f"block {number} is {found} and not {tag}")
        return data


def _name(field: bytes) -> str:
    """Compressed Unicode: the first byte says how many bits a character has."""
    if field[:1] == b"\x10":
        return field[1:].decode("utf-16-be", "replace")
    return field[1:].decode("latin-1")
