"""Applying deltas: what is damaged is refused, and leaves nothing but the file it was to make."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from orlop.image.delta_maker import make_delta
from orlop.lib.errors import InvalidArgument, ResourceExhausted
from orlop.system.updates import delta
from orlop.wire.recompression import format_recipe, parse_recipe
from tests.unit.image.packed_images import applied, image

OLD, NEW = image(), image(b"a few words more ")


@pytest.fixture(scope="module")
def difference(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    tmp_path = tmp_path_factory.mktemp("delta")
    for name, data in (("before", OLD), ("after", NEW)):
        (tmp_path / name).write_bytes(data)
    make_delta(tmp_path / "before", tmp_path / "after", tmp_path / "patch")
    return (tmp_path / "patch").read_bytes()


def test_what_is_damaged_is_an_error_or_another_image(difference: bytes, tmp_path: Path) -> None:
    source = random.Random(3)
    for _ in range(20):
        damaged = bytearray(difference)
        damaged[source.randrange(len(damaged))] ^= 1 << source.randrange(8)
        try:
            assert len(applied(OLD, bytes(damaged), len(NEW), tmp_path)) == len(NEW)
        except InvalidArgument:
            pass
    assert {path.name for path in tmp_path.iterdir()} <= {"old", "delta", "made"}


def test_it_is_cut(difference: bytes, tmp_path: Path) -> None:
    for end in (10, 40, len(difference) // 2, len(difference) - 1):
        with pytest.raises(InvalidArgument):
            applied(OLD, difference[:end], len(NEW), tmp_path)


def test_another_base(difference: bytes, tmp_path: Path) -> None:
    for base in (OLD[: len(OLD) // 2], b"x" * len(OLD), image(b"something else")):
        try:
            assert applied(base, difference, len(NEW), tmp_path) != NEW
        except InvalidArgument:
            pass


def test_without_room_for_all_of_it_nothing_is_begun(difference: bytes, tmp_path: Path) -> None:
    def none(needed: int) -> None:
        raise ResourceExhausted(str(needed))

    with pytest.raises(ResourceExhausted) as refused:
        applied(OLD, difference, len(NEW), tmp_path, none)
    assert int(refused.value.message) > len(OLD) + len(NEW)
    assert (tmp_path / "made").stat().st_blocks == 0
    with pytest.raises(ResourceExhausted, match=f"^{len(NEW)}$"):
        applied(OLD, b"no recipe", len(NEW), tmp_path, none)


def test_a_cluster_that_comes_out_otherwise(difference: bytes, tmp_path: Path) -> None:
    found = parse_recipe(difference)
    assert found is not None
    recipe, start = found
    frame = format_recipe(replace(recipe, level=0))
    with pytest.raises(InvalidArgument, match="something else"):
        applied(OLD, frame + difference[start:], len(NEW), tmp_path)


def test_a_system_without_recipes_finds_no_image(difference: bytes, tmp_path: Path) -> None:
    for name, data in (("old", OLD), ("delta", difference), ("made", b"")):
        (tmp_path / name).write_bytes(data)
    base, patch, output = (os.open(tmp_path / name, os.O_RDWR) for name in ("old", "delta", "made"))
    with pytest.raises(InvalidArgument, match="makes 0 bytes"):
        delta._patch(base, patch, 0, output, len(NEW))
    for descriptor in (base, patch, output):
        os.close(descriptor)
