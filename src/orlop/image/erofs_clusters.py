"""Where the compressed clusters of an EROFS image lie, and what each holds: for deltas.

Reads what `image.erofs` writes: blocks of 4 KiB, directories that are not compressed, "compact"
indexes. Of anything else it reads what it can, which only makes deltas larger.
Source: Linux 6.12, fs/erofs/erofs_fs.h and fs/erofs/zmap.c.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from orlop.lib.errors import InvalidArgument
from orlop.wire.recompression import Cluster

BLOCK_BYTES = 4096
_BLOCK_BITS = 12
_SUPERBLOCK_OFFSET = 1024
_MAGIC = 0xE0F5E1E2
_LZMA = 1 << 1
_FLAT, _INLINE, _COMPACT = 0, 2, 3
_DIRECTORY, _REGULAR = 0o040000, 0o100000
_FORMAT_MASK = 0o170000

_PLAIN, _NO_HEAD = 0, 2
_COUNT = 1 << 11
"""In the first entry that is no head: how many blocks the cluster before it has."""

_TWO_BYTES, _FRAGMENT = 0x01, 0x20
_WHOLLY_FRAGMENT = 0x80


@dataclass(frozen=True, slots=True)
class Layout:
    """*clusters* lie at offsets from the beginning of the image, in the order of their places.
    *paths* are all files'."""

    dictionary_bytes: int
    clusters: tuple[Cluster, ...]
    paths: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Inode:
    layout: int
    mode: int
    size_bytes: int
    block: int
    end: int


def read_layout(image: bytes) -> Layout:
    """The clusters of *image* that are compressed with LZMA.

    Raises:
        InvalidArgument: it is not EROFS with LZMA, or is damaged.
    """
    try:
        return _Reader(image).layout()
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        raise InvalidArgument(f"this EROFS image is damaged: {error}") from None


class _Reader:
    def __init__(self, image: bytes) -> None:
        self._image = image
        at = _SUPERBLOCK_OFFSET
        magic, block_bits, slots, root = struct.unpack_from("<I8xBBH", image, at)
        (self._meta,) = struct.unpack_from("<I", image, at + 40)
        (algorithms,) = struct.unpack_from("<H", image, at + 84)
        (packed,) = struct.unpack_from("<Q", image, at + 96)
        if (magic, block_bits, algorithms) != (_MAGIC, _BLOCK_BITS, _LZMA):
            raise InvalidArgument("this is no EROFS image that is compressed with LZMA")
        # After the superblock: the length of LZMA's configuration, which begins with this.
        (self._dictionary_bytes,) = struct.unpack_from("<I", image, at + 128 + slots * 16 + 2)
        self._root, self._packed = root, packed

    def layout(self) -> Layout:
        files = dict(self._files())
        inodes = {*files.values(), self._packed} - {0}
        found = {cluster for number in inodes for cluster in self._clusters(self._inode(number))}
        ordered = sorted(found, key=lambda cluster: cluster.offset_bytes)
        return Layout(self._dictionary_bytes, tuple(ordered), frozenset(files))

    def _inode(self, number: int) -> _Inode:
        at = self._meta * BLOCK_BYTES + number * 32
        kind, attributes, mode = struct.unpack_from("<HHH", self._image, at)
        if kind & 1:
            size, block = struct.unpack_from("<QI", self._image, at + 8)
        else:
            size, block = struct.unpack_from("<I4xI", self._image, at + 8)
        end = at + (64 if kind & 1 else 32) + (8 + 4 * attributes if attributes else 0)
        return _Inode(kind >> 1 & 7, mode & _FORMAT_MASK, size, block, end)

    def _files(self) -> Iterator[tuple[str, int]]:
        pending, seen = [("", self._root)], set[int]()
        while pending:
            folder, number = pending.pop()
            if number in seen:
                raise InvalidArgument("this EROFS image is damaged: its directories are a circle")
            seen.add(number)
            for name, child in self._names(self._inode(number)):
                kind = self._inode(child).mode
                if kind == _DIRECTORY:
                    pending.append((f"{folder}/{name}", child))
                elif kind == _REGULAR:
                    yield f"{folder}/{name}", child

    def _names(self, inode: _Inode) -> Iterator[tuple[str, int]]:
        whole = inode.size_bytes
        if inode.layout == _INLINE:
            whole -= whole % BLOCK_BYTES
        elif inode.layout != _FLAT:
            raise InvalidArgument("this EROFS image has compressed directories")
        start = inode.block * BLOCK_BYTES
        tail = self._image[inode.end : inode.end + inode.size_bytes - whole]
        data = self._image[start : start + whole] + tail
        for at in range(0, len(data), BLOCK_BYTES):
            block = data[at : at + BLOCK_BYTES]
            (first,) = struct.unpack_from("<8xH", block)
            rows = [struct.unpack_from("<QH", block, place) for place in range(0, first, 12)]
            ends = [*(offset for _, offset in rows[1:]), len(block)]
            for (number, offset), end in zip(rows, ends, strict=True):
                name = block[offset:end].rstrip(b"\0").decode()
                if name not in (".", ".."):
                    yield name, number

    def _clusters(self, inode: _Inode) -> Iterator[Cluster]:
        header = -(-inode.end // 8) * 8
        advice, _, bits = struct.unpack_from("<4xHBB", self._image, header)
        if inode.layout != _COMPACT or bits:
            return  # not compressed, or wholly within the packed inode, or with large blocks
        entries, block = self._entries(inode, header + 8, advice)
        heads: list[tuple[int, int, int]] = []
        for index, (kind, value) in enumerate(entries):
            if kind == _NO_HEAD:
                continue
            follower = entries[index + 1] if index + 1 < len(entries) else (kind, 0)
            counted = follower[0] == _NO_HEAD and follower[1] & _COUNT
            blocks = follower[1] & ~_COUNT if counted else 1
            heads.append((index * BLOCK_BYTES + value, block, 0 if kind == _PLAIN else blocks))
            block += blocks
        if advice & _FRAGMENT:
            heads[-1] = (*heads[-1][:2], 0)
        ends = [*(start for start, _, _ in heads[1:]), inode.size_bytes]
        for (start, place, blocks), end in zip(heads, ends, strict=True):
            if blocks and end > start:
                yield Cluster(place * BLOCK_BYTES, blocks * BLOCK_BYTES, end - start)

    def _entries(self, inode: _Inode, at: int, advice: int) -> tuple[list[tuple[int, int]], int]:
        """Kind and value for each block of the file, and where its first cluster begins.

        They come in packs, which end with a block number: of 2 entries in 8 bytes, and, where the
        place is a multiple of 32, of 16 entries in 32 bytes.
        """
        count = -(-inode.size_bytes // BLOCK_BYTES)
        if count > len(self._image):
            raise InvalidArgument("this EROFS image is damaged: a file is larger than it can be")
        before = min((32 - at % 32) // 4 & 7, count)
        dense = (count - before) // 16 * 16 if advice & _TWO_BYTES else 0
        found: list[tuple[int, int]] = []
        first = None
        while len(found) < count:
            in_pack = 16 if before <= len(found) < before + dense else 2
            size = in_pack * (2 if in_pack == 16 else 4)
            packed = int.from_bytes(self._image[at : at + size - 4], "little")
            if first is None:
                (first,) = struct.unpack_from("<I", self._image, at + size - 4)
            width = (size - 4) * 8 // in_pack
            for index in range(in_pack):
                entry = packed >> width * index
                found.append((entry >> 12 & 3, entry & 0xFFF))
            at += size
        return found[:count], first or 0
