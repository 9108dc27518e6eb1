"""Two boot partitions: the second is like the first after an update, and starts at every moment."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from orlop.lib import boot_record
from orlop.lib.boot_record import BootRecord
from orlop.lib.errors import Internal, NotFound
from orlop.lib.fat32 import make_fat32
from orlop.system.updates import esp_mirror
from orlop.system.updates.esp_mirror import Standing
from tests.unit.system.updates.machine_tree import PowerCut, Tree, power

if TYPE_CHECKING:
    from pathlib import Path

MOST_CALLS = 200
NAME = "a" * 16


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried here is the order of calls: the disk need not be waited for."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def contents(esp: Path) -> dict[str, bytes]:
    """The files, but for the records, of which two may hold the same one."""
    records = {*boot_record.RECORDS, boot_record.TRIED}
    files = [path for path in esp.rglob("*") if path.is_file() and path.name not in records]
    return {str(path.relative_to(esp)): path.read_bytes() for path in files}


def check_alike(first: Path, second: Path) -> None:
    assert contents(first) == contents(second)
    assert boot_record.read(first / "orlop") == boot_record.read(second / "orlop")


def staged(tree: Tree) -> None:
    tree.stage("b")


def on_trial(tree: Tree) -> None:
    tree.arm(tree.stage("b"))
    tree.boot_loader()


def promoted(tree: Tree) -> None:
    tree.arm(tree.stage("b"))
    tree.until_quiet()


def two_later(tree: Tree) -> None:
    """An update ago the second was not there: it names an image that the first has no more."""
    promoted(tree)
    tree.arm(tree.stage("c", 3))
    tree.until_quiet()
    for path in (tree.esp / "orlop/images").iterdir():
        if path.name.partition(".")[0] not in str(tree.record()[0]):
            path.unlink()


@pytest.mark.parametrize("change", [staged, on_trial, promoted, two_later])
def test_the_second_starts_wherever_the_power_goes(tmp_path: Path, change: object) -> None:
    assert callable(change)
    tree = Tree(tmp_path / "machine")
    first, before, second = tree.esp, tmp_path / "before", tmp_path / "second"
    shutil.copytree(first, before)
    change(tree)
    (first / "EFI").mkdir()
    for cut_at in range(1, MOST_CALLS):
        shutil.copytree(before, second)
        (second / "orlop/grub.cfg").write_text("firmware and menus stay as they are")
        try:
            with power(cut_at):
                esp_mirror.equalise(first, second)
            break
        except PowerCut:
            tree.esp = second
            tree.boot_loader()
            esp_mirror.equalise(first, second)
            (second / "orlop/grub.cfg").unlink()
            check_alike(first, second)
        shutil.rmtree(second)
    else:
        raise AssertionError("it has no end")
    assert cut_at > 3
    (second / "orlop/grub.cfg").unlink()
    check_alike(first, second)


def test_one_that_is_ahead_becomes_like_the_one_that_the_state_knows(tmp_path: Path) -> None:
    """Both halves were used alone, and one of them has been given up."""
    tree = Tree(tmp_path / "machine")
    second = tmp_path / "second"
    shutil.copytree(tree.esp, second)
    for sequence in (2, 3):
        record = BootRecord(sequence, tree.record()[0].default, recovery=NAME)
        boot_record.write(second / "orlop", record)
    esp_mirror.equalise(tree.esp, second)
    check_alike(tree.esp, second)
    boot_record.write(second / "orlop", BootRecord(2, tree.record()[0].default))
    (tree.esp / "orlop/boot-0.env").write_bytes(b"")
    with pytest.raises(NotFound):
        esp_mirror.equalise(tree.esp, second)


def test_what_is_damaged_on_the_second_is_copied_anew(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "machine")
    second = tmp_path / "second"
    shutil.copytree(tree.esp, second)
    assert esp_mirror.damaged(tree.esp, second) == []
    [image] = (second / "orlop/images").glob("*.efi")
    [extras] = (second / "orlop").glob("extras-*")
    for path in (image, extras):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    paths = esp_mirror.damaged(tree.esp, second)
    assert sorted(paths) == sorted(str(path.relative_to(second)) for path in (image, extras))
    esp_mirror.mend(tree.esp, second, paths)
    check_alike(tree.esp, second)


@pytest.mark.parametrize("lost", ["default", "previous"])
def test_what_the_first_has_lost_the_second_keeps(tmp_path: Path, lost: str) -> None:
    tree = Tree(tmp_path / "machine")
    promoted(tree)
    second = tmp_path / "second"
    shutil.copytree(tree.esp, second)
    image = getattr(tree.record()[0], lost)
    assert image
    for path in (tree.esp / "orlop/images").glob(f"{image}.*"):
        path.unlink()
    before = contents(second)
    if lost == "default":
        with pytest.raises(Internal):
            esp_mirror.equalise(tree.esp, second)
    else:
        esp_mirror.equalise(tree.esp, second)
    assert contents(second) == before


def test_what_is_damaged_on_the_first_is_not_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(esp_mirror, "SMALL_BYTES", 0)  # as real images are large
    tree = Tree(tmp_path / "machine")
    second = tmp_path / "second"
    shutil.copytree(tree.esp, second)
    promoted(tree)
    image = tree.esp / f"orlop/images/{tree.record()[0].default}.efi"
    image.write_bytes(image.read_bytes()[:-1] + b"?")
    record = boot_record.read(second / "orlop")
    with pytest.raises(Internal, match="damaged on the first"):
        esp_mirror.equalise(tree.esp, second)
    assert boot_record.read(second / "orlop") == record
    assert not (second / f"orlop/images/{image.name}").exists()


def test_one_that_has_lost_what_it_starts_is_not_first() -> None:
    record = BootRecord(5, NAME)
    lost = Standing("/dev/a2", record)
    whole = Standing("/dev/b2", record, files=((f"orlop/images/{NAME}.efi", 9),))
    assert esp_mirror.in_order([lost, whole], 2) == [whole, lost]
    assert esp_mirror.in_order([lost, whole], 1) == [lost, whole]
    # Nor if it was written last: the machine has been started from the other one.
    newer = Standing("/dev/a2", BootRecord(6, NAME))
    assert esp_mirror.in_order([newer, whole], 2) == [whole, newer]


def test_which_is_first_and_what_the_boot_loader_has_noted() -> None:
    record = BootRecord(5, NAME, trial="b" * 16)
    old, new = Standing("/dev/a2", BootRecord(4, NAME)), Standing("/dev/b2", record)
    stale = Standing("/dev/c2", BootRecord(9, NAME))
    assert esp_mirror.in_order([old, new, stale], 2) == [new, old, stale]
    assert esp_mirror.in_order([old, new, stale], 1) == [old, new, stale]
    noted = Standing("/dev/c2", record, tried=5)
    assert noted.on_trial
    assert esp_mirror.mark_to_adopt(new, [old, noted]) == 5
    assert esp_mirror.mark_to_adopt(noted, [new]) == 0
    assert esp_mirror.mark_to_adopt(old, [noted]) == 0
    assert not esp_mirror.are_alike((old, new))


def partition(image: Path, files: dict[str, bytes]) -> None:
    with image.open("wb") as stream:

        def write(offset: int, data: bytes) -> None:
            stream.seek(offset)
            stream.write(data)

        make_fat32(write, 64 << 20, "ORLOP_ESP", files, epoch=0, volume_id=1)
        stream.truncate(64 << 20)


def test_what_is_on_a_partition_without_a_mount(tmp_path: Path) -> None:
    record = BootRecord(1, NAME)
    image = tmp_path / "esp"
    files = {f"orlop/{n}": data for n, data in boot_record.first_files(record).items()}
    files |= {"orlop/images/a.efi": b"x" * 9, "orlop/APPEND.ENV": b"#", "EFI/BOOT/X.EFI": b"efi"}
    partition(image, files)
    found = esp_mirror.look(str(image))
    assert (found.record, found.tried) == (record, 0)
    assert found.files == (("orlop/append.env", 1), ("orlop/images/a.efi", 9))
    assert esp_mirror.look(str(tmp_path / "gone")) == Standing(str(tmp_path / "gone"))
    # A stranger's disk cannot have the whole memory filled.
    name = f"orlop/{boot_record.RECORDS[0]}"
    partition(image, {**files, name: files[name].ljust(esp_mirror.SMALL_BYTES + 1, b"#")})
    assert esp_mirror.look(str(image)) == Standing(str(image))
