"""The storage extras of images: what uses them is never given an image without its own."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from orlop.lib.errors import Conflict, Internal
from orlop.system.updates import extras_files, stage, verify
from orlop.system.updates.ledger import sweep
from orlop.system.updates.report import Now
from tests.unit.lib.test_unified_image import image as unified_image
from tests.unit.system.updates.machine_tree import Tree, content, extras, extras_digest, image

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    monkeypatch.setattr("os.fsync", lambda _: None)
    return Tree(tmp_path)


def there(tree: Tree) -> set[str]:
    return extras_files.present(tree.esp)


def ids(*names: str) -> set[str]:
    return {extras_digest(name)[:16] for name in names}


def promote(tree: Tree, name: str, sequence: int) -> None:
    tree.arm(tree.stage(name, sequence))
    tree.until_quiet()
    assert tree.running == f"build-{name}"


def test_they_come_and_go_with_their_images(tree: Tree) -> None:
    assert there(tree) == ids("a")
    promote(tree, "b", 2)
    assert there(tree) == ids("a", "b")
    tree.stage("c", 3)
    assert there(tree) == ids("a", "b", "c")
    tree.stage("d", 4)
    assert there(tree) == ids("a", "b", "d"), "what was never tried goes"
    path = extras_files.path_of(tree.esp, extras_digest("d"))
    assert path.read_bytes() == extras("d")
    found = verify.verify(tree.ledger(), tree.esp, Now(tree.running, "1.0", False, ""))
    assert {"what": f"extras {path.name[7:23]}", "ok": True, "problem": None} in found


def test_an_image_without_its_own_is_not_staged(tree: Tree) -> None:
    candidate = replace(tree.candidate("b"), extras=None)
    with pytest.raises(Conflict, match="might not find its state"):
        tree.stage_candidate("b", candidate)
    assert not (tree.esp / f"orlop/images/{image('b').id}.efi").exists()
    assert there(tree) == ids("a")
    tree.check()
    # Who uses none does not need them.
    source = tree.incoming / "b"
    stage.stage(tree.ledger(), tree.esp, candidate, source, lambda _: None)
    assert there(tree) == ids("a")


def test_damaged_ones_are_renewed(tree: Tree) -> None:
    path = extras_files.path_of(tree.esp, extras_digest("b"))
    path.write_bytes(b"half of th")
    tree.stage("b")
    assert path.read_bytes() == extras("b")
    path.write_bytes(b"damaged")
    with pytest.raises(Internal, match="was damaged: the image would not find its storage"):
        extras_files.require(tree.esp, image("b"), "in use")
    assert not path.exists()


def test_what_is_elsewhere_and_the_same_goes_on(tree: Tree) -> None:
    extras_files.path_of(tree.esp, extras_digest("a")).unlink()
    extras_files.require(tree.esp, image("a"), extras_digest("a"))
    with pytest.raises(Conflict):
        extras_files.require(tree.esp, image("a"), "those of another build")
    extras_files.require(tree.esp, image("a"), "")


def test_an_image_that_does_not_say(tree: Tree) -> None:
    parts = {".osrel": b"ID=orlop\n", ".cmdline": b"", ".linux": b"l", ".initrd": b"i"}
    path = tree.esp / f"orlop/images/{image('a').id}.efi"
    path.write_bytes(unified_image(tuple(parts.items())))
    with pytest.raises(Conflict, match="does not say"):
        extras_files.require(tree.esp, image("a"), "in use")
    extras_files.require(tree.esp, image("a"), "in use", unknown_is_fine=True)
    (tree.esp / f"orlop/extras-{16 * '0'}.erofs").write_bytes(b"whose?")
    sweep(tree.ledger(), tree.esp)
    assert there(tree) == ids("a") | {16 * "0"}
    path.write_bytes(content("a"))
    sweep(tree.ledger(), tree.esp)
    assert there(tree) == ids("a")
    assert [*os.listdir(tree.esp / "orlop/images")].count(path.name) == 1
