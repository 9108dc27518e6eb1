"""Facts from /sys, with a small /sys made of files."""

from pathlib import Path

from orlop.lib.disk_ids import ata_string, read_attribute
from orlop.services.devices.names import block_links
from orlop.services.devices.probing import decode_answer, encode_answer
from orlop.services.devices.superblock import Identity
from orlop.services.devices.sysfs import (
    Node,
    block_facts,
    block_nodes,
    is_probeable,
    size_bytes,
)


def make(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_virtio_disk_with_a_partition(tmp_path: Path) -> None:
    disk = "devices/pci0000:00/0000:00:05.0/virtio2/block/vda"
    make(
        tmp_path,
        {
            f"{disk}/uevent": "MAJOR=254\nMINOR=0\nDEVNAME=vda\nDEVTYPE=disk\n",
            f"{disk}/size": "2048\n",
            f"{disk}/serial": "state0",
            f"{disk}/vda1/uevent": "DEVNAME=vda1\nPARTN=1\nPARTNAME=state\nPARTUUID=aa-bb\n",
            f"{disk}/vda1/size": "1024\n",
            f"{disk}/vda1/partition": "1\n",
        },
    )
    (tmp_path / "class/block").mkdir(parents=True)
    (tmp_path / "class/block/vda").symlink_to(tmp_path / disk)
    (tmp_path / "class/block/vda1").symlink_to(tmp_path / disk / "vda1")
    nodes = block_nodes(str(tmp_path))
    assert [node.name for node in nodes] == ["vda", "vda1"]
    assert size_bytes(nodes[1].syspath) == 1024 * 512
    links = block_links(block_facts(nodes[1], Identity("ext4", b"L", "u")))
    assert links == [
        "disk/by-id/virtio-state0-part1",
        "disk/by-path/pci-0000:00:05.0-part1",
        "disk/by-partlabel/state",
        "disk/by-partuuid/aa-bb",
        "disk/by-uuid/u",
        "disk/by-label/L",
    ]


def test_usb_stick(tmp_path: Path) -> None:
    stick = "devices/pci0000:00/0000:00:04.0/usb1/1-2"
    scsi = f"{stick}/1-2:1.0/host7/target7:0:0/7:0:0:0"
    make(
        tmp_path,
        {
            f"{stick}/idVendor": "46f4\n",
            f"{stick}/serial": "1-0000:00:04.0-2\n",
            f"{scsi}/vendor": "QEMU    \n",
            f"{scsi}/model": "QEMU HARDDISK   \n",
            f"{scsi}/block/sda/uevent": "DEVNAME=sda\n",
        },
    )
    disk = tmp_path / scsi / "block/sda"
    (disk / "device").symlink_to(tmp_path / scsi)
    facts = block_facts(Node("sda", str(disk), "block"), None)
    assert facts.ids == ("usb-QEMU_QEMU HARDDISK_1-0000:00:04.0-2-0:0",)
    assert facts.path == "pci-0000:00:04.0-usb-0:2:1.0-scsi-0:0:0:0"


def test_nvme(tmp_path: Path) -> None:
    make(
        tmp_path,
        {
            "devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1/wwid": "eui.0011\n",
            "devices/pci0000:00/0000:01:00.0/nvme/nvme0/model": "QEMU NVMe Ctrl   \n",
            "devices/pci0000:00/0000:01:00.0/nvme/nvme0/serial": "abc  \n",
        },
    )
    controller = tmp_path / "devices/pci0000:00/0000:01:00.0/nvme/nvme0"
    (controller / "nvme0n1/device").symlink_to(controller)
    facts = block_facts(Node("nvme0n1", str(controller / "nvme0n1"), "block"), None)
    assert facts.ids == ("nvme-QEMU NVMe Ctrl_abc", "nvme-eui.0011")


def test_gone_devices_are_no_error(tmp_path: Path) -> None:
    node = Node("vdz", str(tmp_path / "gone"), "block")
    assert read_attribute(node.syspath, "size") == b""
    assert not is_probeable(node)
    assert block_links(block_facts(node, None)) == []
    assert block_nodes(str(tmp_path)) == []


def test_memory_is_not_probed(tmp_path: Path) -> None:
    make(tmp_path, {"size": "100\n"})
    assert not is_probeable(Node("zram0", str(tmp_path), "block"))
    assert is_probeable(Node("vda", str(tmp_path), "block"))


def test_ata_strings_are_swapped() -> None:
    identification = bytes(20) + b"MQ0000 1" + b" " * 12
    assert ata_string(identification, 10, 10) == "QM00001"
    assert ata_string(b"", 10, 10) == ""


def test_answers_of_probes() -> None:
    for identity in (None, Identity("ext4", b"\xff\0", "u"), Identity("raid", member=True)):
        assert decode_answer(encode_answer(identity)) == identity
    for broken in (b"", b"{", b"[1]", b'["a", "zz", "u", false]', b'["a", "00", "u", 1]'):
        assert decode_answer(broken) is None
