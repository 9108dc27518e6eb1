"""The recipe of a delta, whole, cut and with too much asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.recompression import (
    MAX_BYTES,
    MAX_CLUSTER_BYTES,
    MAX_CLUSTERS,
    MAX_DICTIONARY_BYTES,
    MAX_KERNEL_BYTES,
    MAX_PLAIN_BYTES,
    Cluster,
    Kernel,
    Recipe,
    expanded_bytes,
    format_recipe,
    gaps,
    parse_recipe,
)
from orlop.wire.relocation import (
    MAX_FIELDS,
    MAX_MOVES,
    MAX_SEGMENTS,
    Field,
    Move,
    Moves,
    Segment,
)

OLD = (Cluster(4096, 4096, 10_000), Cluster(8192, 4096, 20_000))
NEW = (Cluster(100, 4096, 10_000, 4096), Cluster(9000, 50, 60))
RECIPE = Recipe(6, 1 << 19, OLD, NEW)
FRAME = format_recipe(RECIPE)


def test_what_is_written_is_read() -> None:
    assert parse_recipe(FRAME) == (RECIPE, len(FRAME))
    assert parse_recipe(FRAME + b"what follows") == (RECIPE, len(FRAME))
    assert FRAME[:4] == bytes.fromhex("502a4d18")


def test_the_longest_is_as_long_as_is_read() -> None:
    most = tuple(Cluster(9 * number, 9, 10) for number in range(MAX_CLUSTERS))
    moves = Moves(
        (Segment(0, 4, 0),) * MAX_SEGMENTS,
        (Field(0, 0, 4, 4),) * MAX_FIELDS,
        tuple(Move(number, number) for number in range(MAX_MOVES)),
    )
    end = 9 * MAX_CLUSTERS
    kernel = Kernel(Cluster(end, 9, 1000), Cluster(end, 9, 1000), 1 << 22, moves)
    whole = Recipe(6, 1 << 19, most, most, kernel)
    data = format_recipe(whole)
    assert len(data) == MAX_BYTES
    assert parse_recipe(data) == (whole, len(data))


def test_a_delta_without_one() -> None:
    assert parse_recipe(bytes.fromhex("28b52ffd") + bytes(40)) is None
    assert parse_recipe(b"") is None


def test_one_that_is_cut() -> None:
    for end in range(8, len(FRAME)):
        with pytest.raises(InvalidArgument):
            parse_recipe(FRAME[:end])


@pytest.mark.parametrize(
    "wrong",
    [
        replace(RECIPE, level=10),
        replace(RECIPE, dictionary_bytes=MAX_DICTIONARY_BYTES + 1),
        replace(RECIPE, old=OLD[::-1]),
        replace(RECIPE, old=(OLD[0], OLD[0])),
        replace(RECIPE, new=(Cluster(0, 0, 1),)),
        replace(RECIPE, new=(Cluster(0, MAX_CLUSTER_BYTES + 1, 1),)),
        replace(RECIPE, new=(Cluster(0, 1, MAX_PLAIN_BYTES + 1),)),
        replace(RECIPE, new=(Cluster(0, 1, 1, MAX_CLUSTER_BYTES + 1),)),
        replace(RECIPE, old=tuple(Cluster(n * 9, 9, MAX_PLAIN_BYTES) for n in range(5))),
    ],
)
def test_what_asks_for_too_much(wrong: Recipe) -> None:
    with pytest.raises(InvalidArgument):
        parse_recipe(format_recipe(wrong))


def test_of_another_version() -> None:
    with pytest.raises(InvalidArgument, match="another version"):
        parse_recipe(FRAME.replace(b"orlop\0\0\1", b"orlop\0\0\3"))


MOVES = Moves((Segment(0, 100, 1 << 31),), (Field(0, 4, 96, 4),), (Move(5, 6), Move(9, -3)))
KERNEL = Kernel(Cluster(20_000, 40, 100), Cluster(4200, 50, 110), 1 << 22, MOVES)
WHOLE = replace(RECIPE, kernel=KERNEL)


def test_one_with_a_kernel() -> None:
    data = format_recipe(WHOLE)
    assert parse_recipe(data + b"what follows") == (WHOLE, len(data))
    assert WHOLE.pieces == ([*OLD, KERNEL.old], [NEW[0], KERNEL.new, NEW[1]])
    for end in range(8, len(data)):
        with pytest.raises(InvalidArgument):
            parse_recipe(data[:end])


@pytest.mark.parametrize(
    "wrong",
    [
        replace(KERNEL, dictionary_bytes=MAX_DICTIONARY_BYTES + 1),
        replace(KERNEL, old=Cluster(8000, 1000, 100)),  # where a cluster is
        replace(KERNEL, new=Cluster(4200, MAX_KERNEL_BYTES + 1, 100)),
        replace(KERNEL, new=Cluster(4200, 50, MAX_PLAIN_BYTES + 1)),
        replace(KERNEL, moves=MOVES._replace(segments=(Segment(0, 101, 0),))),
        replace(KERNEL, moves=MOVES._replace(fields=(Field(0, 5, 96, 4),))),
        replace(KERNEL, moves=MOVES._replace(fields=(Field(5, 4, 96, 4),))),
        replace(KERNEL, moves=MOVES._replace(fields=(Field(1, 4, 96, 3),))),
        replace(KERNEL, moves=MOVES._replace(fields=(Field(1, 0, 100, 4),) * 5)),
        replace(KERNEL, moves=MOVES._replace(moves=MOVES.moves[::-1])),
    ],
)
def test_a_kernel_that_asks_for_too_much(wrong: Kernel) -> None:
    with pytest.raises(InvalidArgument):
        parse_recipe(format_recipe(replace(RECIPE, kernel=wrong)))


def test_what_is_left() -> None:
    assert gaps(20_000, OLD) == [(0, 4096), (8192, 0), (12_288, 7712)]
    assert gaps(5, ()) == [(0, 5)]
    assert expanded_bytes(20_000, OLD) == 20_000 + 30_000 - 8192
    with pytest.raises(InvalidArgument, match="larger images"):
        gaps(12_287, OLD)
