"""Where the parts of a program have moved, and what follows for the places that refer to them.

A function that becomes longer moves all that come after it, and every call across it changes. So a
kernel of which little has changed differs from the next one in a tenth of its bytes, and nearly all
of them follow from the little that moved: `relocate` rewrites the old one as if its parts were
where those of the new one are. What is then left of the difference is small. Nothing depends on its
being right: a place that it takes for a reference and is none becomes part of the difference.

Little-endian: numbers of segments, fields and moves; of each segment offset, size and address; of
each field kind, offset, size and stride; of each move the address that it begins at and how far
what is there has moved, 32 bits each. Addresses are the lower halves of those in the kernel. Pure.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MAX_SEGMENTS = 16
MAX_FIELDS = 64
MAX_MOVES = 1 << 15
OUTSIDE = -(1 << 31)
"""How far what is nowhere in the program has moved: a number that leads there is no reference."""

_MASK = 0xFFFFFFFF
_COUNTS = struct.Struct("<III")
_SEGMENT = struct.Struct("<III")
_FIELD = struct.Struct("<IIII")
_MOVE = struct.Struct("<Ii")
_WORD = struct.Struct("<I")
MAX_BYTES = (
    _COUNTS.size + MAX_SEGMENTS * _SEGMENT.size + MAX_FIELDS * _FIELD.size + MAX_MOVES * _MOVE.size
)

_OPERAND = re.compile(
    rb"(?:[\xe8\xe9]|\x0f[\x80-\x8f]"  # calls, jumps; then what has an address as its operand
    rb"|(?:[\x00-\x03\x08-\x0b\x20-\x23\x28-\x2b\x30-\x33\x38-\x3b\x63\x69\x6b\x80-\x8d\xc6\xc7\xf6"
    rb"\xf7\xff]|\x0f[\x0d\x10\x11\x18\x1f\x28\x29\x40-\x4f\xa3\xab\xaf-\xb1\xb3\xb6-\xbb\xbe-\xc1"
    rb"\xc7])[\x05\x0d\x15\x1d\x25\x2d\x35\x3d])(.{4})",
    re.DOTALL,
)
"""Machine code that refers to another place by its distance from the end of the operand. Where
instructions begin is not known; what is no instruction rarely leads anywhere."""


class Kind(IntEnum):
    """What the words of a field are."""

    CODE = 0
    """Machine code; the stride means nothing."""
    DISTANCE = 1
    """Distances from where they are."""
    ADDRESS = 2
    PLACE = 3
    """Addresses of words that are addresses."""
    BACKWARDS = 4
    """What is left to one before the address of the first segment: the kernel's names have it."""


class Segment(NamedTuple):
    """*size_bytes* at *offset_bytes* of the program are at *address*."""

    offset_bytes: int
    size_bytes: int
    address: int


class Field(NamedTuple):
    """A word each *stride_bytes* in *size_bytes* of the program."""

    kind: int
    offset_bytes: int
    size_bytes: int
    stride_bytes: int


class Move(NamedTuple):
    """All from *address* on, up to that of the next move, has moved by *distance_bytes*."""

    address: int
    distance_bytes: int


class Moves(NamedTuple):
    """All that `relocate` is told. The fields are gone through in their order; the moves are in
    that of their addresses."""

    segments: tuple[Segment, ...]
    fields: tuple[Field, ...]
    moves: tuple[Move, ...]


def format_moves(moves: Moves) -> bytes:
    return b"".join(
        [
            _COUNTS.pack(len(moves.segments), len(moves.fields), len(moves.moves)),
            *(_SEGMENT.pack(*segment) for segment in moves.segments),
            *(_FIELD.pack(*field) for field in moves.fields),
            *(_MOVE.pack(*move) for move in moves.moves),
        ]
    )


def parse_moves(data: bytes, plain_bytes: int) -> Moves:
    """The moves of a program of *plain_bytes*.

    Raises:
        InvalidArgument: they are damaged, or ask for too much.
    """
    if len(data) < _COUNTS.size:
        raise InvalidArgument("the moves of the delta are cut")
    segments, fields, moves = _COUNTS.unpack_from(data)
    if segments > MAX_SEGMENTS or fields > MAX_FIELDS or moves > MAX_MOVES:
        raise InvalidArgument("the delta moves too much")
    first = _COUNTS.size
    second = first + segments * _SEGMENT.size
    third = second + fields * _FIELD.size
    if len(data) != third + moves * _MOVE.size:
        raise InvalidArgument("the moves of the delta are damaged")
    found = Moves(
        tuple(Segment(*row) for row in _SEGMENT.iter_unpack(data[first:second])),
        tuple(Field(*row) for row in _FIELD.iter_unpack(data[second:third])),
        tuple(Move(*row) for row in _MOVE.iter_unpack(data[third:])),
    )
    _check(found, plain_bytes)
    return found


def _check(found: Moves, plain_bytes: int) -> None:
    for segment in found.segments:
        if segment.offset_bytes + segment.size_bytes > plain_bytes:
            raise InvalidArgument("the delta moves what is not there")
    total = 0
    for field in found.fields:
        total += field.size_bytes
        if field.offset_bytes + field.size_bytes > plain_bytes or total > 4 * plain_bytes:
            raise InvalidArgument("the delta moves what is not there")
        if field.kind not in Kind or field.stride_bytes < _WORD.size:
            raise InvalidArgument("the moves of the delta are damaged")
    addresses = [move.address for move in found.moves]
    if addresses != sorted(set(addresses)):
        raise InvalidArgument("the moves of the delta are damaged")


def operands(data: memoryview | bytes, offset_bytes: int, size_bytes: int) -> Iterator[int]:
    """Where in *data* the operands in a piece of machine code are. None of them overlap."""
    for match in _OPERAND.finditer(data, offset_bytes, offset_bytes + size_bytes):
        yield match.start(1)


def address_of(segments: tuple[Segment, ...], offset_bytes: int) -> int | None:
    """The address of what is at an offset of the program."""
    for offset, size, address in segments:
        if offset <= offset_bytes < offset + size:
            return address + offset_bytes - offset
    return None


def offset_of(segments: tuple[Segment, ...], wanted: int) -> int | None:
    """Where in the program the word at an address is."""
    for offset, size, address in segments:
        if address <= wanted <= address + size - _WORD.size:
            return offset + wanted - address
    return None


def relocate(data: memoryview, moves: Moves) -> None:
    """Rewrite in the program *data* what refers to a part that has moved."""
    starts = [0, *(move.address for move in moves.moves)]
    distances = [OUTSIDE, *(move.distance_bytes for move in moves.moves)]

    def distance(address: int) -> int:
        return distances[bisect_right(starts, address) - 1]

    for field in moves.fields:
        match field.kind:
            case Kind.CODE:
                places = operands(data, field.offset_bytes, field.size_bytes)
                _distances(data, _base(moves, field), places, _WORD.size, distance)
            case Kind.DISTANCE:
                _distances(data, _base(moves, field), _words(field), 0, distance)
            case _:
                _addresses(data, moves, field, distance)


def _base(moves: Moves, field: Field) -> int:
    """What makes an address of an offset in *field*, which is in one segment."""
    address = address_of(moves.segments, field.offset_bytes)
    if address is None:
        raise InvalidArgument("the delta moves what is not there")
    return address - field.offset_bytes


def _words(field: Field) -> range:
    end = field.offset_bytes + field.size_bytes - _WORD.size + 1
    return range(field.offset_bytes, end, field.stride_bytes)


def _distances(
    data: memoryview,
    base: int,
    places: Iterable[int],
    ahead: int,
    distance: Callable[[int], int],
) -> None:
    """The words at *places* are distances from *ahead* bytes after where they are."""
    unpack, pack = _WORD.unpack_from, _WORD.pack_into
    for place in places:
        address = base + place
        (value,) = unpack(data, place)
        here, there = distance(address), distance((value + address + ahead) & _MASK)
        if here != there and OUTSIDE not in (here, there):
            pack(data, place, (value + there - here) & _MASK)


def _addresses(
    data: memoryview, moves: Moves, field: Field, distance: Callable[[int], int]
) -> None:
    unpack, pack = _WORD.unpack_from, _WORD.pack_into
    last = moves.segments[0].address - 1 if moves.segments else 0
    for place in _words(field):
        (value,) = unpack(data, place)
        if field.kind == Kind.PLACE:
            found = offset_of(moves.segments, value)
            if found is None:
                continue
            place = found  # noqa: PLW2901
            (value,) = unpack(data, place)
        backwards = field.kind == Kind.BACKWARDS
        moved = distance((last - value) & _MASK if backwards else value)
        if moved not in (0, OUTSIDE):
            pack(data, place, (value - moved if backwards else value + moved) & _MASK)
