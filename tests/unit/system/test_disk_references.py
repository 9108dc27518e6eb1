"""What a name of a disk means."""

from pathlib import Path

import pytest

from orlop.system.storage import disk_references, formatting
from orlop.system.storage.block_devices import Volume
from orlop.system.storage.disk_references import Names, matches, names_match, read_names, split
from orlop.system.storage.superblock import Superblock

VOLUME = Volume("/dev/vda1", Superblock("ext4", "ORLOP_STATE", "abc-1"))
NAMES = Names(1, "state", "0FC6-AA", "WD 12-3", ("virtio-WD 12-3", "wwn-0x5000"))


@pytest.mark.parametrize(
    "text",
    [
        *("LABEL=ORLOP_STATE", "UUID=ABC-1", "PARTLABEL=state", "PARTUUID=0fc6-aa", "/dev/vda1"),
        *("SERIAL=WD 12-3", "SERIAL=WD_12-3", "ID=virtio-WD_12-3", "ID=virtio-WD_12-3-part1"),
        *("/dev/disk/by-id/wwn-0x5000-part1", "/dev/disk/by-label/ORLOP_STATE"),
    ],
)
def test_each_kind(text: str) -> None:
    assert matches(*split(text), VOLUME, NAMES)


@pytest.mark.parametrize(
    "text",
    [
        "LABEL=x",
        "SERIAL=WD",
        "SERIAL=WD 12-33",
        "ID=virtio-WD_12-3-part2",
        "/dev/vda",
        "PARTLABEL=s",
    ],
)
def test_others(text: str) -> None:
    assert not matches(*split(text), VOLUME, NAMES)


@pytest.mark.parametrize("text", ["", "vda", "SERIAL=", "NAME=x", "/dev/../x", "/sys/x"])
def test_no_reference(text: str) -> None:
    with pytest.raises(ValueError, match="must be LABEL="):
        split(text)


def test_a_disk_without_a_serial_number_is_not_every_disk() -> None:
    assert not names_match("SERIAL", "", Names())
    assert not names_match("ID", "", Names())


def test_names_from_sys(tmp_path: Path) -> None:
    disk = tmp_path / "devices/vdb"
    part = disk / "vdb1"
    part.mkdir(parents=True)
    (disk / "serial").write_text("data-7\n")
    (disk / "uevent").write_text("DEVNAME=vdb\nDEVTYPE=disk\n")
    (part / "partition").write_text("1\n")
    (part / "uevent").write_text("DEVNAME=vdb1\nPARTNAME=state\nPARTUUID=aa-bb\n")
    block = tmp_path / "class"
    block.mkdir()
    (block / "vdb").symlink_to(disk)
    (block / "vdb1").symlink_to(part)
    assert read_names("/dev/vdb1", str(block)) == Names(
        1, "state", "aa-bb", "data-7", ("virtio-data-7",)
    )
    assert read_names("/dev/vdb", str(block)).partition == 0
    assert formatting.find_disk("SERIAL=data-7", str(block)) == "vdb"
    assert formatting.find_disk("ID=virtio-data-7", str(block)) == "vdb"
    assert formatting.find_disk("SERIAL=other", str(block)) is None
    assert disk_references.read_names("/dev/gone", str(block)) == Names()
