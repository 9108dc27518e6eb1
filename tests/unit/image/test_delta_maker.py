"""Deltas between real images: how large they are, and that a machine makes the image of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from orlop.image import delta_maker
from orlop.image.delta_maker import (
    APPLIER,
    KERNEL_APPLIER,
    find_layout,
    make_delta,
    plan_recipe,
)
from orlop.wire.recompression import SKIPPED_FRAME, parse_recipe
from tests.unit.image.packed_images import applied, image
from tests.unit.image.small_kernels import boot_image, payload

OLD, NEW = image(), image(b"a few words more ")


def made(old: bytes, new: bytes, place: Path) -> bytes:
    (place / "before").write_bytes(old)
    (place / "after").write_bytes(new)
    make_delta(place / "before", place / "after", place / "patch")
    return (place / "patch").read_bytes()


def test_a_small_change_is_a_small_delta(tmp_path: Path) -> None:
    delta = made(OLD, NEW, tmp_path)
    assert int.from_bytes(delta[:4], "little") == SKIPPED_FRAME
    assert len(delta) < 3000
    assert applied(OLD, delta, len(NEW), tmp_path) == NEW


def test_every_cluster_comes_out_the_same_once_more() -> None:
    recipe, layout = plan_recipe(OLD, NEW), find_layout(NEW)
    assert recipe is not None
    assert layout is not None
    before = find_layout(OLD)
    assert before is not None
    kept = {OLD[c.offset_bytes :][: c.size_bytes] for c in before.clusters}
    changed = [c for c in layout.clusters if NEW[c.offset_bytes :][: c.size_bytes] not in kept]
    assert [c.offset_bytes for c in recipe.new] == [c.offset_bytes for c in changed]
    assert 0 < len(changed) < len(layout.clusters)  # those of the large file are not touched


def test_a_system_that_cannot_follow_gets_a_plain_delta(tmp_path: Path) -> None:
    old = image(without=APPLIER)
    assert plan_recipe(old, NEW) is None
    delta = made(old, NEW, tmp_path)
    assert parse_recipe(delta) is None
    assert applied(old, delta, len(NEW), tmp_path) == NEW


def test_what_is_no_image_gets_a_plain_delta(tmp_path: Path) -> None:
    assert plan_recipe(b"old" * 9999, NEW) is None
    delta = made(b"old" * 9999, b"new" * 9999, tmp_path)
    assert applied(b"old" * 9999, delta, 9999 * 3, tmp_path) == b"new" * 9999


def test_what_does_not_come_out_the_same_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delta_maker, "LEVEL", 0)
    recipe = plan_recipe(OLD, NEW)
    assert recipe is not None
    assert not recipe.new
    assert applied(OLD, made(OLD, NEW, tmp_path), len(NEW), tmp_path) == NEW


BEFORE = image(kernel=boot_image(payload()))
AFTER = image(b"a few words more ", kernel=boot_image(payload(grown=True)))


def test_a_delta_looks_into_the_kernel(tmp_path: Path) -> None:
    delta = made(BEFORE, AFTER, tmp_path)
    found = parse_recipe(delta)
    assert found is not None
    assert found[0].kernel is not None
    assert applied(BEFORE, delta, len(AFTER), tmp_path) == AFTER
    outside = made(image(without=KERNEL_APPLIER, kernel=boot_image(payload())), AFTER, tmp_path)
    assert len(delta) < len(outside) - 3000


def test_a_system_that_knows_no_kernels_gets_a_delta_without(tmp_path: Path) -> None:
    old = image(without=KERNEL_APPLIER, kernel=boot_image(payload()))
    recipe = plan_recipe(old, AFTER)
    assert recipe is not None
    assert recipe.kernel is None
    assert applied(old, made(old, AFTER, tmp_path), len(AFTER), tmp_path) == AFTER


def test_the_same_kernel_is_not_looked_into() -> None:
    recipe = plan_recipe(BEFORE, image(b"more", kernel=boot_image(payload())))
    assert recipe is not None
    assert recipe.kernel is None


@pytest.mark.parametrize("dictionary_bytes", [1 << 20, 64 << 20])
def test_a_kernel_that_does_not_come_out_the_same(dictionary_bytes: int, tmp_path: Path) -> None:
    """With a dictionary that takes too much memory, or another one than is expected."""
    new = image(kernel=boot_image(payload(grown=True), dictionary_bytes))
    recipe = plan_recipe(BEFORE, new)
    if recipe is None or recipe.kernel is None:
        assert applied(BEFORE, made(BEFORE, new, tmp_path), len(new), tmp_path) == new
    else:
        pytest.fail("a kernel that cannot be compressed again is looked into")
