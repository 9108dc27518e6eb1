"""Disks whose sectors have 4,096 bytes: made by an installation, and by `./orlop image`."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from orlop.image.disk import DiskImage, make_disk
from orlop.lib import boot_record, fat_reader
from orlop.lib.mount import MountFlag, detach, mount
from orlop.lib.process import run
from orlop.system.install import disks
from orlop.system.install.disks import Content
from tests.engine.test_install_native import (
    EFI,
    MIB,
    LoopDisk,
    attached,
    install,
    medium,
    result,
)
from tests.unit.lib.test_unified_image import image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["medium"]  # a fixture

pytestmark = [pytest.mark.root, pytest.mark.engine]

SECTOR = 4096
SIZE = 800 * MIB


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[LoopDisk]:
    path = tmp_path / "disk"
    path.touch()
    os.truncate(path, SIZE)
    with attached(path, SECTOR) as disk:
        yield disk


def check(disk: LoopDisk, config: str, name: str) -> None:
    """The kernel, and other programs, find everything on it; a BIOS nothing."""
    assert disks.look(disk.device)[0] is Content.INSTALLED
    subprocess.run(["sfdisk", "--verify", disk.device], check=True, capture_output=True)
    with open(disk.device, "rb") as file:

        def read(offset: int, size: int) -> bytes:
            return os.pread(file.fileno(), size, offset)

        assert not any(read(0, 440))
        places = disks.own_partitions(read, SECTOR)
        assert places is not None
        start = places["orlop-esp"][0]

        def of_boot(offset: int, size: int) -> bytes:
            return read(start + offset, size)

        file_of = partial(fat_reader.read_file, of_boot)
        assert file_of("EFI/BOOT/BOOTX64.EFI") == EFI
        record = boot_record.parse(file_of("orlop/boot-0.env"))
        assert record is not None
        assert file_of(f"orlop/images/{record.default}.efi") == image()
    with part(disk, *places["orlop-esp"]) as device:
        subprocess.run(["fsck.vfat", "-n", device], check=True, capture_output=True)
    with part(disk, *places["orlop-state"]) as device:
        subprocess.run(["e2fsck", "-fn", device], check=True, capture_output=True)
        target = disk.path.with_name("target")
        target.mkdir(exist_ok=True)
        mount(device, str(target), "ext4", MountFlag.RDONLY)
        try:
            assert (target / "lib/orlop" / name).read_text() == config
        finally:
            detach(str(target))


@contextmanager
def part(disk: LoopDisk, start: int, size: int) -> Iterator[str]:
    """A device of a part of *disk*, with sectors of the same size."""
    place = ["--offset", str(start), "--sizelimit", str(size), "-b", str(SECTOR), str(disk.path)]
    words = ["losetup", "--find", "--show", *place]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    device = done.stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


VERSION = "config/versions/1/config.yml"


def test_a_machine_that_a_bios_has_started_says_why_not(
    medium: Path, disk: LoopDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_FIRMWARE", str(tmp_path / "none"))
    refused = install(medium, disk, wipe=True)[-1]["error"]
    assert "sectors have 4096 bytes, of which only UEFI starts a system" in refused
    assert disks.look(disk.device)[0] is Content.EMPTY


def test_killed_at_every_write_and_begun_again(medium: Path, disk: LoopDisk) -> None:
    killed = 0
    while not (events := install(medium, disk, kill_at=killed + 1)):
        killed += 1
        content, found, _ = disks.look(disk.device)
        if content is Content.INSTALLED:
            break
        assert content in (Content.EMPTY, Content.UNFINISHED), (killed, found)
    assert killed >= 10
    if events:
        result(events)
    check(disk, "hostname: ship\n", VERSION)
    again: dict[str, Any] = {"keep_state": True, "config": ""}
    assert "is not empty" in install(medium, disk)[-1]["error"]
    assert result(install(medium, disk, **again))["kept_state"] is True
    check(disk, "hostname: ship\n", VERSION)


@pytest.mark.parametrize("size", [700 * MIB, 2048 * MIB])
def test_an_image_of_a_disk(medium: Path, tmp_path: Path, size: int) -> None:
    """A small state would have blocks smaller than a sector."""
    path = tmp_path / "disk.raw"
    wanted = DiskImage(medium, size, configuration=b"hostname: made\n", sector_bytes=SECTOR)
    make_disk(wanted, path, tmp_path, lambda words, env: run(words, env=env), epoch=1_700_000_000)
    with attached(path, SECTOR) as disk:
        check(disk, "hostname: made\n", "conf.d/50-image.yml")
