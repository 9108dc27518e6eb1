"""The names that block devices get."""

import pytest

from orlop.lib.disk_ids import MAX_NAME_BYTES, clean_id
from orlop.services.devices.names import (
    BlockFacts,
    block_links,
    bus_path,
    encode_label,
)
from orlop.services.devices.superblock import Identity


def test_partition_of_a_virtio_disk() -> None:
    facts = BlockFacts(
        name="vda1",
        partition=1,
        partition_name="state of it",
        partition_uuid="4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
        identity=Identity("ext4", b"ORLOP_STATE", "0123-45"),
        ids=("virtio-DISK 7",),
        path="pci-0000:00:05.0",
    )
    assert block_links(facts) == [
        "disk/by-id/virtio-DISK_7-part1",
        "disk/by-path/pci-0000:00:05.0-part1",
        "disk/by-partlabel/state\\x20of\\x20it",
        "disk/by-partuuid/4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
        "disk/by-uuid/0123-45",
        "disk/by-label/ORLOP_STATE",
    ]


def test_members_of_something_larger_have_no_file_system_names() -> None:
    identity = Identity("linux_raid_member", b"LABEL", "uuid", member=True)
    assert block_links(BlockFacts("sda", identity=identity)) == []


def test_mapper() -> None:
    assert block_links(BlockFacts("dm-0", mapper_name="vault")) == ["mapper/vault"]


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"plain-1.0_x", "plain-1.0_x"),
        (b"with blank", "with\\x20blank"),
        (b"a/b", "a\\x2fb"),
        (b"../../etc/passwd", "..\\x2f..\\x2fetc\\x2fpasswd"),
        (b".", "\\x2e"),
        (b"..", "\\x2e\\x2e"),
        (b"", ""),
        ("grün".encode(), "grün"),
        (b"\xff\x00", "\\xff\\x00"),
        ("\u202e".encode(), "\\xe2\\x80\\xae"),
    ],
)
def test_labels_become_one_safe_name(raw: bytes, name: str) -> None:
    assert encode_label(raw) == name


def test_labels_are_bounded() -> None:
    assert len(encode_label(b"\xff" * 300).encode()) <= MAX_NAME_BYTES


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("QEMU HARDDISK_QM00001", "QEMU_HARDDISK_QM00001"),
        ("a/../b", "a_.._b"),
        ("..", ""),
        ("  ", ""),
        ("x\n\ty", "x_y"),
    ],
)
def test_identifiers(text: str, name: str) -> None:
    assert clean_id(text) == name


@pytest.mark.parametrize(
    ("syspath", "port", "path"),
    [
        ("/sys/devices/pci0000:00/0000:00:05.0/virtio2/block/vda", "", "pci-0000:00:05.0"),
        (
            "/sys/devices/pci0000:00/0000:00:1f.2/ata3/host2/target2:0:0/2:0:0:0/block/sr0",
            "3",
            "pci-0000:00:1f.2-ata-3",
        ),
        (
            "/sys/devices/pci0000:00/0000:00:02.0/0000:01:00.0/nvme/nvme0/nvme0n1",
            "",
            "pci-0000:01:00.0-nvme-1",
        ),
        (
            "/sys/devices/pci0000:00/0000:00:04.0/usb1/1-1/1-1:1.0/host7/target7:0:0/7:0:0:0/block/sdb",
            "",
            "pci-0000:00:04.0-usb-0:1:1.0-scsi-0:0:0:0",
        ),
        (
            "/sys/devices/pci0000:00/0000:00:06.0/virtio3/host9/target9:0:2/9:0:2:1/block/sdc",
            "",
            "pci-0000:00:06.0-scsi-0:0:2:1",
        ),
        ("/sys/devices/virtual/block/loop0", "", ""),
        ("/sys/devices/vmbus/host0/target0:0:0/0:0:0:0/block/sda", "", ""),
    ],
)
def test_where_it_is_plugged_in(syspath: str, port: str, path: str) -> None:
    assert bus_path(syspath, port) == path
