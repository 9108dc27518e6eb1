"""How a delta goes through compressed parts of an image: which ones, and how they are made again.

A byte that changes in what is compressed changes all that follows. So both images are taken for
what they are without some of their clusters, followed by what these hold: `gaps` says what is left,
and a delta between the two is small. The machine then compresses the new clusters itself, which
gives the very same bytes, or the image has another digest and the whole one is fetched.

The recipe is the first frame of a delta, one that zstd skips; who does not know it finds no image
in the delta. Little-endian: the frame's magic and the size of what follows; `MAGIC`, level,
dictionary, numbers of clusters; for each cluster of the old and of the new image offset, size,
what it holds and how much of what follows that the compressor sees, 32 bits each. With
`KERNEL_MAGIC` instead, the kernel in the image is taken apart as well: then follow offset, size
and content of the old and of the new one, the dictionary, and what has moved in it (`relocation`).
Pure.
Source: RFC 8878, 3.1.2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.wire import relocation

if TYPE_CHECKING:
    from collections.abc import Sequence

MAGIC = b"orlop\0\0\1"
KERNEL_MAGIC = b"orlop\0\0\2"
SKIPPED_FRAME = 0x184D2A50

MAX_LEVEL = 9
MAX_DICTIONARY_BYTES = 8 << 20
"""Compressing takes some twelve times as much memory."""
MAX_CLUSTER_BYTES = 1 << 20
MAX_PLAIN_BYTES = 64 << 20
MAX_TOTAL_BYTES = 256 << 20
"""Of what all clusters of an image hold."""
MAX_CLUSTERS = 1 << 14
MAX_KERNEL_BYTES = 32 << 20

_FRAME = struct.Struct("<II")
_HEAD = struct.Struct("<8sIIII")
_CLUSTER = struct.Struct("<IIII")
_KERNEL = struct.Struct("<III III I")
MAX_BYTES = (
    _FRAME.size
    + _HEAD.size
    + 2 * MAX_CLUSTERS * _CLUSTER.size
    + _KERNEL.size
    + relocation.MAX_BYTES
)


@dataclass(frozen=True, slots=True)
class Cluster:
    """*size_bytes* at *offset_bytes* of an image, which hold *plain_bytes*. They come out as they
    are when the compressor is offered *ahead_bytes* more than that."""

    offset_bytes: int
    size_bytes: int
    plain_bytes: int
    ahead_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Kernel:
    """The compressed kernels of both images, with which dictionary the new one is compressed, and
    what has moved from the old one to it."""

    old: Cluster
    new: Cluster
    dictionary_bytes: int
    moves: relocation.Moves


@dataclass(frozen=True, slots=True)
class Recipe:
    """The clusters of both images, in the order of their places, and how those of the new one are
    compressed."""

    level: int
    dictionary_bytes: int
    old: tuple[Cluster, ...]
    new: tuple[Cluster, ...]
    kernel: Kernel | None = None

    @property
    def pieces(self) -> tuple[list[Cluster], list[Cluster]]:
        """All that is taken apart in the old and in the new image, in the order of the places."""
        kernels = ((), ()) if self.kernel is None else ((self.kernel.old,), (self.kernel.new,))
        return sorted((*self.old, *kernels[0]), key=_place), sorted(
            (*self.new, *kernels[1]), key=_place
        )


def _place(cluster: Cluster) -> int:
    return cluster.offset_bytes


def gaps(size_bytes: int, clusters: Sequence[Cluster]) -> list[tuple[int, int]]:
    """Offset and length of what an image of *size_bytes* is besides *clusters*.

    Raises:
        InvalidArgument: they are not all in it.
    """
    ends = [0, *(cluster.offset_bytes + cluster.size_bytes for cluster in clusters)]
    if ends[-1] > size_bytes:
        raise InvalidArgument("the delta is for larger images")
    starts = [*(cluster.offset_bytes for cluster in clusters), size_bytes]
    return [(end, start - end) for end, start in zip(ends, starts, strict=True)]


def expanded_bytes(size_bytes: int, clusters: Sequence[Cluster]) -> int:
    """How long an image of *size_bytes* is when what *clusters* hold follows the rest of it."""
    return size_bytes + sum(cluster.plain_bytes - cluster.size_bytes for cluster in clusters)


def format_recipe(recipe: Recipe) -> bytes:
    """The frame of *recipe*."""
    kernel = recipe.kernel
    magic = MAGIC if kernel is None else KERNEL_MAGIC
    body = _HEAD.pack(
        magic, recipe.level, recipe.dictionary_bytes, len(recipe.old), len(recipe.new)
    ) + b"".join(
        _CLUSTER.pack(row.offset_bytes, row.size_bytes, row.plain_bytes, row.ahead_bytes)
        for row in (*recipe.old, *recipe.new)
    )
    if kernel is not None:
        rows = (
            number
            for row in (kernel.old, kernel.new)
            for number in (row.offset_bytes, row.size_bytes, row.plain_bytes)
        )
        body += _KERNEL.pack(*rows, kernel.dictionary_bytes)
        body += relocation.format_moves(kernel.moves)
    return _FRAME.pack(SKIPPED_FRAME, len(body)) + body


def parse_recipe(data: bytes) -> tuple[Recipe, int] | None:
    """The recipe that a delta with *data* begins with, and where what follows begins; None if it
    begins with none. *data* may end `MAX_BYTES` after the beginning of the delta.

    Raises:
        InvalidArgument: it is damaged, or asks for too much.
    """
    if len(data) < _FRAME.size or _FRAME.unpack_from(data)[0] != SKIPPED_FRAME:
        return None
    size = _FRAME.unpack_from(data)[1]
    body = data[_FRAME.size : _FRAME.size + size]
    if len(body) != size or size < _HEAD.size:
        raise InvalidArgument("the recipe of the delta is cut")
    magic, level, dictionary_bytes, old, new = _HEAD.unpack_from(body)
    if magic not in (MAGIC, KERNEL_MAGIC):
        raise InvalidArgument("the delta is for another version of this system")
    if level > MAX_LEVEL or not 4096 <= dictionary_bytes <= MAX_DICTIONARY_BYTES:
        raise InvalidArgument("the delta asks for too much memory")
    end = _HEAD.size + (old + new) * _CLUSTER.size
    if max(old, new) > MAX_CLUSTERS or size < end or (magic == MAGIC and size != end):
        raise InvalidArgument("the recipe of the delta is damaged")
    rows = [Cluster(*row) for row in _CLUSTER.iter_unpack(body[_HEAD.size : end])]
    if any(row.size_bytes > MAX_CLUSTER_BYTES for row in rows):
        raise InvalidArgument("the recipe of the delta is damaged")
    kernel = None if magic == MAGIC else _parse_kernel(body[end:])
    recipe = Recipe(level, dictionary_bytes, tuple(rows[:old]), tuple(rows[old:]), kernel)
    if rows[:old] != sorted(rows[:old], key=_place) or rows[old:] != sorted(rows[old:], key=_place):
        raise InvalidArgument("the recipe of the delta is damaged")
    for pieces in recipe.pieces:
        _check(pieces)
    return recipe, _FRAME.size + size


def _parse_kernel(data: bytes) -> Kernel:
    if len(data) < _KERNEL.size:
        raise InvalidArgument("the recipe of the delta is cut")
    *rows, dictionary_bytes = _KERNEL.unpack_from(data)
    old, new = Cluster(*rows[:3]), Cluster(*rows[3:])
    if not 4096 <= dictionary_bytes <= MAX_DICTIONARY_BYTES:
        raise InvalidArgument("the delta asks for too much memory")
    if max(old.size_bytes, new.size_bytes) > MAX_KERNEL_BYTES:
        raise InvalidArgument("the delta asks for too much memory")
    moves = relocation.parse_moves(data[_KERNEL.size :], old.plain_bytes)
    return Kernel(old, new, dictionary_bytes, moves)


def _check(pieces: Sequence[Cluster]) -> None:
    at = total = 0
    for piece in pieces:
        total += piece.plain_bytes
        if piece.offset_bytes < at or not piece.size_bytes:
            raise InvalidArgument("the recipe of the delta is damaged")
        if not 0 < piece.plain_bytes <= MAX_PLAIN_BYTES or total > MAX_TOTAL_BYTES:
            raise InvalidArgument("the delta asks for too much memory")
        if piece.ahead_bytes > MAX_CLUSTER_BYTES:
            raise InvalidArgument("the recipe of the delta is damaged")
        at = piece.offset_bytes + piece.size_bytes
