"""What has moved from one kernel to the next: the other half of `wire.relocation`.

The kernel's payload is an ELF file followed by the places that its boot code relocates. Both are
cut where something refers to another place, and compared piece by piece without what they refer
to. What is in both has moved, and so has what the same reference leads to: each says so once for
its address, and what most say counts. Source: Linux 6.12, arch/x86/tools/relocs.c,
kernel/kallsyms.c.
"""

import bisect
import struct
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from orlop.lib.errors import InvalidArgument
from orlop.wire.relocation import (
    OUTSIDE,
    Field,
    Kind,
    Move,
    Moves,
    Segment,
    address_of,
    offset_of,
    operands,
)

_MASK = 0xFFFFFFFF
_WORD = struct.Struct("<I")

DISTANCES = {
    **dict.fromkeys(("__ksymtab", "__ksymtab_gpl", "__ex_table", "__bug_table"), ((0, 4),)),
    **dict.fromkeys((".retpoline_sites", ".return_sites", ".call_sites"), ((0, 4),)),
    **dict.fromkeys((".ibt_endbr_seal", ".smp_locks", ".pci_fixup"), ((0, 4),)),
    ".altinstructions": ((0, 14), (4, 14)),
}
"""Sections of words that are distances: where in an entry, and how long one is."""

LEAST_NAMES_BYTES = 4096
MAX_NAMED_BYTES = 1 << 28
SHORTEST_PIECE = 6
LONGEST_PIECE = 256
"""Of bytes in which nothing refers to anything; longer ones are cut at zeros."""
MAX_DISTANCE = 1 << 20
WORTH_MOVING = 2
"""So many voices at least for a move."""


@dataclass(frozen=True, slots=True)
class Program:
    """*tables* are where in *data* the three tables of relocated places begin and end: of 64 bits,
    of distances from the data of each processor, of 32 bits."""

    data: bytes
    segments: tuple[Segment, ...]
    reach: tuple[tuple[int, int], ...]
    code: tuple[tuple[int, int], ...]
    distances: tuple[Field, ...]
    tables: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes from *start* to *end*; *kind* is that of the word which follows, if there is one."""

    start: int
    end: int
    kind: Kind | None


def find_moves(before: bytes, after: bytes) -> Moves:
    """What `relocate` needs to make the payload *before* resemble *after*.

    Raises:
        InvalidArgument: one of them is no kernel's payload.
    """
    old, new = read_program(before), read_program(after)
    voices = _listen(old, new, pair_pieces(old, new))
    fields = [
        *(Field(Kind.CODE, start, size, _WORD.size) for start, size in old.code),
        *old.distances,
        *(Field(Kind.PLACE, start, end - start, _WORD.size) for start, end in old.tables[::2]),
        *(Field(Kind.ADDRESS, start, end - start, _WORD.size) for start, end in old.tables),
    ]
    return Moves(old.segments, tuple(fields), tuple(_moves(voices, old.reach)))


def read_program(data: bytes) -> Program:
    """The parts of a kernel's payload."""
    try:
        elf = ELFFile(BytesIO(data))
        loaded = [row for row in elf.iter_segments() if row["p_type"] == "PT_LOAD"]
        sections = [row for row in elf.iter_sections() if row["sh_flags"] & 2]
        sections = [row for row in sections if row["sh_type"] != "SHT_NOBITS"]
        end = elf["e_shoff"] + elf["e_shnum"] * elf["e_shentsize"]
    except (ELFError, struct.error) as error:
        raise InvalidArgument(f"the kernel is no ELF file: {error}") from error
    segments = tuple(
        Segment(row["p_offset"], row["p_filesz"], row["p_vaddr"] & _MASK) for row in loaded
    )
    reach = tuple(
        (row["p_vaddr"] & _MASK, (row["p_vaddr"] & _MASK) + row["p_memsz"]) for row in loaded
    )
    code = tuple(
        (row["sh_offset"], row["sh_size"])
        for row in sections
        if row["sh_flags"] & 4 and any(data[row["sh_offset"] :][: row["sh_size"]])
    )
    distances = [
        Field(Kind.DISTANCE, row["sh_offset"] + first, row["sh_size"] - first, stride)
        for row in sections
        for first, stride in DISTANCES.get(row.name, ())
    ]
    names = [
        _names(data, row["sh_offset"], row["sh_size"], segments[0].address)
        for row in sections
        if row.name == ".rodata"
    ]
    words = (*distances, *(field for field in names if field.size_bytes >= LEAST_NAMES_BYTES))
    return Program(data, segments, reach, code, words, _tables(data, end))


def _names(data: bytes, start: int, size: int, first: int) -> Field:
    """The longest row of words that ascend when they are counted down from the beginning of the
    program: the addresses of the kernel's names."""
    words = array("I", data[start : start + size // 4 * 4])
    best = (0, 0)
    begin = last = 0
    for number, word in enumerate(words):
        address = (first - 1 - word) & _MASK
        if not max(last, first) <= address < first + MAX_NAMED_BYTES:
            begin, address = number + 1, 0
        elif number + 1 - begin > best[1] - best[0]:
            best = (begin, number + 1)
        last = address
    return Field(Kind.BACKWARDS, start + 4 * best[0], 4 * (best[1] - best[0]), _WORD.size)


def _tables(data: bytes, start: int) -> tuple[tuple[int, int], ...]:
    """The three tables at the end, each after a zero; the last one goes to the end."""
    words = array("I", data[start + -start % 4 : len(data) // 4 * 4])
    base = len(data) // 4 * 4 - 4 * len(words)
    found: list[tuple[int, int]] = []
    end = len(words)
    for _ in range(3):
        at = end - 1
        while at >= 0 and words[at]:
            at -= 1
        if at < 0:
            raise InvalidArgument("the kernel has no tables of relocated places")
        found.append((base + 4 * (at + 1), base + 4 * end))
        end = at
    return tuple(reversed(found))


def cut(program: Program) -> Iterator[Piece]:
    """The program without what is referred to."""
    words = [(at, Kind.CODE) for code in program.code for at in operands(program.data, *code)]
    for start, end in program.tables[::2]:
        for (place,) in _WORD.iter_unpack(program.data[start:end]):
            at = offset_of(program.segments, place)
            if at is not None:
                words.append((at, Kind.ADDRESS))
    at = 0
    for word, kind in sorted(words):
        if word < at:
            continue
        while word - at > LONGEST_PIECE:
            zero = program.data.find(b"\0", at + LONGEST_PIECE // 8, word)
            if zero < 0:
                break
            yield Piece(at, zero + 1, None)
            at = zero + 1
        yield Piece(at, word, kind)
        at = word + _WORD.size


def pair_pieces(old: Program, new: Program) -> list[tuple[Piece, Piece]]:
    """Those that are in both, in an order that is that of both."""
    before, after = list(cut(old)), list(cut(new))
    held = [
        [program.data[piece.start : piece.end] for piece in pieces]
        for program, pieces in ((old, before), (new, after))
    ]
    places: list[dict[bytes, int]] = [{}, {}]
    for found, contents in zip(places, held, strict=True):
        for number, content in enumerate(contents):
            found[content] = -1 if content in found else number
    unique = sorted(
        (number, places[1].get(content, -1))
        for content, number in places[0].items()
        if number >= 0 and len(content) >= SHORTEST_PIECE
    )
    pairs = dict(_ascending([(one, other) for one, other in unique if other >= 0]))
    taken = set(pairs.values())
    for step in (1, -1):
        for one, other in sorted(pairs.items(), reverse=step < 0):
            left, right = one + step, other + step
            while (
                0 <= left < len(before)
                and 0 <= right < len(after)
                and left not in pairs
                and right not in taken
                and held[0][left] == held[1][right]
            ):
                pairs[left] = right
                taken.add(right)
                left, right = left + step, right + step
    return [(before[one], after[other]) for one, other in sorted(pairs.items())]


def _ascending(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest part of *pairs*, which ascend by their first, that ascends by the second too."""
    last: list[int] = []
    numbers: list[int] = []
    previous: list[int] = []
    for number, (_, other) in enumerate(pairs):
        at = bisect.bisect_left(last, other)
        last[at : at + 1] = [other]
        numbers[at : at + 1] = [number]
        previous.append(numbers[at - 1] if at else -1)
    found: list[tuple[int, int]] = []
    number = numbers[-1] if numbers else -1
    while number >= 0:
        found.append(pairs[number])
        number = previous[number]
    return found[::-1]


def _listen(
    old: Program, new: Program, pairs: list[tuple[Piece, Piece]]
) -> dict[int, Counter[int]]:
    """How often each address is said to have moved how far."""
    voices: dict[int, Counter[int]] = defaultdict(Counter)
    for one, other in pairs:
        places = address_of(old.segments, one.start), address_of(new.segments, other.start)
        if places[0] is None or places[1] is None:
            continue
        voices[places[0]][places[1] - places[0]] += 1 + (one.end - one.start) // 8
        if one.kind is None or one.kind != other.kind:
            continue
        (left,) = _WORD.unpack_from(old.data, one.end)
        (right,) = _WORD.unpack_from(new.data, other.end)
        if one.kind == Kind.CODE:
            left = (left + places[0] + one.end - one.start + _WORD.size) & _MASK
            right = (right + places[1] + other.end - other.start + _WORD.size) & _MASK
        if any(start <= left < end for start, end in old.reach):
            voices[left][right - left] += 1
    return voices


def _moves(voices: dict[int, Counter[int]], reach: tuple[tuple[int, int], ...]) -> Iterator[Move]:
    """What most say, of each address; and outside is where the program is not."""
    runs = [[address, *found.most_common(1)[0]] for address, found in sorted(voices.items())]
    for least in (0, WORTH_MOVING, WORTH_MOVING):
        kept: list[list[int]] = []
        for address, distance, count in runs:
            if count < least or abs(distance) > MAX_DISTANCE:
                continue
            if kept and kept[-1][1] == distance:
                kept[-1][2] += count
            else:
                kept.append([address, distance, count])
        runs = kept
    found = {address: distance for address, distance, _ in runs}
    starts = sorted(found)
    for start, end in reach:
        # What comes before the first voice has moved as far as what is there.
        first = bisect.bisect_left(starts, start)
        is_said = first < len(starts) and starts[first] < end
        found.setdefault(start, found[starts[first]] if is_said else 0)
    for _, end in reach:
        found.setdefault(end, OUTSIDE)
    last = None
    for address, distance in sorted(found.items()):
        if distance != last:
            yield Move(address, distance)
        last = distance
