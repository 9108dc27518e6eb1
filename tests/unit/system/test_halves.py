"""Halves of a mirror that were used one without the other."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import replace
from functools import partial
from itertools import permutations
from pathlib import Path

import pytest

from orlop.system.storage import assembly, halves
from orlop.system.storage.halves import Half

ARRAY = bytes(range(16))
GONE = 0xFFFE
NOW_S = 1_790_000_000
ONE = Half("/dev/vda3", ARRAY, 0, b"a" * 16, 100, NOW_S, (0, 1))
OTHER = Half("/dev/vdb3", ARRAY, 1, b"b" * 16, 100, NOW_S, (0, 1))


def superblock(half: Half, level: int = 1, place: int = 4096) -> bytes:
    """As the kernel writes it, with room for 128 devices."""
    block = bytearray(halves.BLOCK_BYTES)
    struct.pack_into("<4sII4x16s32s", block, 0, halves.MAGIC, 1, 1, half.array, b"ORLOP_STATE")
    struct.pack_into("<I", block, 72, level)
    struct.pack_into("<Q", block, 144, place // 512)
    struct.pack_into("<I4x16s", block, 160, half.number, half.identity)
    # Microseconds are above the seconds.
    struct.pack_into("<QQ", block, 192, half.used_s | 7 << 40, half.events)
    struct.pack_into("<I", block, 220, 128)
    roles = (*half.roles, *[0xFFFF] * (128 - len(half.roles)))
    struct.pack_into("<128H", block, 256, *roles)
    struct.pack_into("<I", block, 216, halves.checksum(bytes(block)))
    return bytes(block)


@pytest.mark.parametrize("place", [*halves.PLACES, 65536 - 8192])
def test_a_superblock_is_read(tmp_path: Path, place: int) -> None:
    path = tmp_path / "part"
    path.write_bytes((bytes(place) + superblock(OTHER, place=place)).ljust(65536, b"\0"))
    found = halves.read(str(path))
    assert found is not None
    assert replace(found, device=OTHER.device, roles=found.roles[:2]) == OTHER
    assert halves.read(str(tmp_path / "gone")) is None
    path.write_bytes((bytes(place) + superblock(OTHER, place=12288)).ljust(65536, b"\0"))
    assert halves.read(str(path)) is None


def test_what_is_torn_or_no_mirror_is_none() -> None:
    whole = superblock(ONE)
    assert halves.parse("", whole) is not None
    for at in (16, 72, 200, 220, 256):
        torn = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        assert halves.parse("", torn) is None, at
    assert halves.parse("", superblock(ONE, level=5)) is None
    assert halves.parse("", whole[:256]) is None
    assert halves.parse("", whole[:220] + b"\xff" * 4 + whole[224:]) is None


def test_the_checksum_is_that_of_the_kernel() -> None:
    """calc_sb_1_csum: 32-bit words, what does not fit is added, then a last half of a word."""
    block = bytearray(halves.BLOCK_BYTES)
    struct.pack_into("<II", block, 0, 0xFFFFFFFF, 3)
    struct.pack_into("<II", block, 216, 0xDEAD, 3)  # the sum itself does not count
    struct.pack_into("<HHH", block, 256, 1, 2, 5)
    total = 0xFFFFFFFF + 3 + 3 + (1 | 2 << 16) + 5
    assert halves.checksum(bytes(block)) == (total & 0xFFFFFFFF) + (total >> 32)


def alone(half: Half, *, events: int = 50, used_s: int = 500) -> Half:
    """*half* after it was used without the other."""
    roles = tuple(r if number == half.number else GONE for number, r in enumerate(half.roles))
    return replace(half, roles=roles, events=half.events + events, used_s=half.used_s + used_s)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ONE, OTHER),
        (alone(ONE), OTHER),
        # The kernel had written one of the two superblocks when the power went.
        (replace(ONE, events=101), OTHER),
        (alone(ONE, events=0), replace(OTHER, events=101)),
        # It is being added, and has no role yet.
        (replace(ONE, roles=(0, 0xFFFF)), replace(OTHER, roles=(0, 0xFFFF))),
    ],
)
def test_alike_and_old_halves_are_for_the_kernel(one: Half, other: Half) -> None:
    for found in permutations((one, other)):
        assert halves.sort_out(found) == []


def test_of_two_that_were_used_alone_the_later_one_counts() -> None:
    """Whichever is seen first, and whatever the number of events is."""
    first, second = alone(ONE, events=900), alone(OTHER, events=5, used_s=501)
    for found in permutations((first, second)):
        assert halves.sort_out(found) == [(first, second)]
    # One is in use by now: then the other one is left alone.
    assert halves.sort_out((first, second), {first.device}) == [(second, first)]
    # Without a clock it is the one with more events, of which it gets still more.
    for more in (0, 7):
        both = replace(first, used_s=9, events=1000 + more), replace(second, used_s=99)
        for found in permutations(both):
            assert halves.sort_out(found) == [(both[1], both[0])]
    # Those of two mirrors have nothing to do with each other.
    assert halves.sort_out((first, replace(second, array=bytes(16)))) == []


def test_one_that_only_an_old_one_knows_of_is_not_taken_for_old() -> None:
    """What replaces a disk may get the number of the one before."""
    gone_on = replace(ONE, events=500, used_s=NOW_S + 9000)
    returned = alone(OTHER)
    for found in permutations((gone_on, returned)):
        assert halves.sort_out(found) == [(returned, gone_on)]


def test_what_is_left_alone_is_noted_for_who_asks(tmp_path: Path) -> None:
    path = str(tmp_path / "note")
    halves.note([(alone(ONE), OTHER)], path)
    assert halves.noted([OTHER.device], path) == [(ONE.device, NOW_S + 500)]
    assert halves.noted([ONE.device], path) == []
    halves.note([], path)
    assert halves.noted([OTHER.device], path) == []
    halves.forget(path)
    assert halves.when(NOW_S) == "2026-09-21 14:13:20 UTC"
    assert halves.when(1 << 40)


def test_before_mdadm_is_given_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not started yet, or one that was left alone while the other is in use."""
    monkeypatch.setattr(halves, "note", partial(halves.note, path=str(tmp_path / "note")))
    parts = [str(tmp_path / name) for name in ("one", "other", "new")]
    for part, half in zip(parts, (alone(ONE), alone(OTHER, used_s=501)), strict=False):
        Path(part).write_bytes(bytes(4096) + superblock(half))
    left = asyncio.run(assembly._left_alone(parts, set(parts)))
    assert left == {parts[0]}
    assert halves.noted([parts[1]], str(tmp_path / "note")) == [(parts[0], NOW_S + 500)]
    assert asyncio.run(assembly._left_alone(parts, {parts[1]})) == {parts[1]}
    assert asyncio.run(assembly._left_alone(parts[:1], set(parts))) == set()
    assert halves.noted(parts, str(tmp_path / "note")) == []
