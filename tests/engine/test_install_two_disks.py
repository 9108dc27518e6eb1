"""An installation on two disks, interrupted at every write."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orlop.lib import fat_reader
from orlop.system.install import disks
from orlop.system.install.disks import Content
from orlop.system.updates import esp_mirror
from tests.engine.test_install_native import (
    MIB,
    LoopDisk,
    attached,
    check_installed,
    disk,
    install,
    medium,
    result,
)
from tests.unit.system.updates.machine_tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["disk", "medium"]  # fixtures

pytestmark = [pytest.mark.root, pytest.mark.engine]


@pytest.fixture
def second(tmp_path: Path) -> Iterator[LoopDisk]:
    path = tmp_path / "second"
    path.touch()
    os.truncate(path, 514 * MIB)
    with attached(path) as found:
        yield found


def test_killed_at_every_write_and_begun_again(
    medium: Path,
    disk: LoopDisk,
    second: LoopDisk,
    tmp_path: Path,
) -> None:
    """Neither looks whole before it is, the second is it first, and nothing needs --wipe."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "program").write_bytes(os.urandom(3 * MIB))
    shutil.copy(medium, tmp_path)
    iso, extras = tmp_path / medium.name, tmp_path / "orlop-extras.erofs"
    asked: dict[str, Any] = {"mirror": ["virtio-gone", second.name]}
    assert "orlop-extras.erofs of its build" in install(iso, disk, **asked)[-1]["error"]
    make = ["mkfs.erofs", "-L", "ORLOP_EXTRAS", str(extras), str(tree)]
    subprocess.run(make, check=True, capture_output=True)
    assert "named twice" in install(iso, disk, mirror=[disk.name])[-1]["error"]
    killed = second_alone = 0
    while not (events := install(iso, disk, kill_at=killed + 1, **asked)):
        killed += 1
        found = [disks.look(str(each.path))[0] for each in (disk, second)]
        if found[0] is Content.INSTALLED:
            break
        assert found[0] in (Content.EMPTY, Content.UNFINISHED), killed
        second_alone += found[1] is Content.INSTALLED
        assert found[1] in (Content.EMPTY, Content.UNFINISHED) or second_alone, killed
    assert killed >= 20
    assert second_alone
    if events:
        assert result(events)["mirror"] == second.name
    for each in (disk, second):
        check_installed(each, "hostname: ship\n")
    assert "is not empty" in install(iso, disk, **asked)[-1]["error"]


def test_a_boot_partition_that_is_destroyed_is_made_anew(medium: Path, tmp_path: Path) -> None:
    """Killed at every write it starts nothing, and at the end what the other one starts."""
    esp, path = Tree(tmp_path / "machine").esp, tmp_path / "partition"
    (esp / "EFI/BOOT").mkdir(parents=True)
    (esp / "EFI/BOOT/BOOTX64.EFI").write_bytes(b"the boot loader")
    path.write_bytes(os.urandom(MIB))
    os.truncate(path, 64 * MIB)
    with attached(path) as partition:
        asked: dict[str, Any] = {
            "verb": "boot-partition",
            "device": partition.device,
            "esp": str(esp),
        }
        killed = 0
        while not (events := install(medium, partition, kill_at=killed + 1, **asked)):
            killed += 1
            is_written = killed == 3  # and not yet compared
            assert esp_mirror.look(partition.device).starts == is_written, killed
        assert killed == 3
        assert events[-1]["done_bytes"]
        found = esp_mirror.look(partition.device)
        assert found.starts
        with path.open("rb") as stream:

            def read(offset: int, size: int) -> bytes:
                return os.pread(stream.fileno(), size, offset)

            for file in filter(Path.is_file, esp.rglob("*")):
                name = str(file.relative_to(esp))
                assert fat_reader.read_file(read, name) == file.read_bytes(), name
        subprocess.run(["fsck.vfat", "-n", partition.device], check=True, capture_output=True)
        [image] = (esp / "orlop/images").glob("*.efi")
        image.write_bytes(b"damaged")
        refused = install(medium, partition, **asked)
        assert "is damaged" in refused[-1]["error"]
        assert esp_mirror.look(partition.device) == found
