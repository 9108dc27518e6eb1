"""What has moved from one kernel to the next is found, and the old one rewritten accordingly."""

from __future__ import annotations

import pytest

from orlop.image.kernel_moves import find_moves
from orlop.lib.errors import InvalidArgument
from orlop.wire.relocation import OUTSIDE, Kind, format_moves, parse_moves, relocate
from tests.unit.image.small_kernels import (
    DATA,
    FUNCTION_BYTES,
    GROWN,
    GROWTH_BYTES,
    PAGE,
    TEXT,
    payload,
    starts,
)

OLD, NEW = payload(), payload(grown=True)


def test_what_comes_after_a_longer_function_has_moved() -> None:
    moves = find_moves(OLD, NEW)
    after = (TEXT + starts(False)[GROWN + 1]) & 0xFFFFFFFF
    rows = {move.address: move.distance_bytes for move in moves.moves}
    assert rows[TEXT & 0xFFFFFFFF] == 0
    assert rows[after] == GROWTH_BYTES
    assert rows[DATA & 0xFFFFFFFF] == 0
    assert set(rows.values()) == {0, GROWTH_BYTES, OUTSIDE}
    assert parse_moves(format_moves(moves), len(OLD)) == moves


def test_every_reference_is_rewritten() -> None:
    moved = bytearray(OLD)
    relocate(memoryview(moved), find_moves(OLD, NEW))
    before, after = starts(False), starts(True)
    for old, new in zip(before, after, strict=True):
        assert moved[PAGE + old :][:FUNCTION_BYTES] == NEW[PAGE + new :][:FUNCTION_BYTES]
    assert moved[-4 * len(before) :] == NEW[-4 * len(after) :]
    assert sum(one != other for one, other in zip(OLD, moved, strict=True)) > 1000


def test_nothing_is_rewritten_where_nothing_has_moved() -> None:
    same = bytearray(OLD)
    relocate(memoryview(same), find_moves(OLD, OLD))
    assert same == OLD


def test_what_is_no_kernel() -> None:
    for other in (b"", b"no kernel" * 100, OLD[:2000], OLD[: PAGE * 2] + b"\1" * 400):
        with pytest.raises(InvalidArgument):
            find_moves(OLD, other)


def test_code_is_gone_through_before_its_places() -> None:
    kinds = [field.kind for field in find_moves(OLD, NEW).fields]
    assert kinds.index(Kind.CODE) < kinds.index(Kind.PLACE) < kinds.index(Kind.ADDRESS)
