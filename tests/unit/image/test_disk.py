"""Disks with an installed system: what other programs find on them. No machine is started."""

import hashlib
import json
import os
import struct
import subprocess
from binascii import crc32
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from orlop.image.boot_loader import BIOS_FOLDER
from orlop.image.disk import DiskImage, Format, convert, make_disk
from orlop.image.iso import Boot, make_iso
from orlop.lib import boot_record, environment_block, medium
from orlop.lib.disk_layout import plan_disk
from orlop.lib.errors import InvalidArgument, NotFound, OrlopError
from orlop.lib.process import run
from orlop.system.storage.extras_media import Reader
from tests.unit.lib.test_unified_image import image

MIB = 1 << 20
EPOCH = 1_700_000_000
SIZE_BYTES = 300 * MIB
CONFIG = b"hostname: built\n"
MENU = b"# the menu of a disk\n"
ESP = plan_disk(SIZE_BYTES).esp


@pytest.fixture(scope="module")
def iso(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ISO as the builder makes it, with an image of nothing."""
    folder = tmp_path_factory.mktemp("iso")
    blocks = struct.pack("<QHH", 2, 0, 0x820)
    files = {
        "image": image(),
        "bios": (BIOS_FOLDER / "boot_hybrid.img").read_bytes() + b"K" * 500 + blocks + b"R" * 4000,
        "efi": b"MZ" * 1000,
        "menu": MENU,
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    boot = Boot(
        image=folder / "image",
        bios=folder / "bios",
        efi=folder / "efi",
        menu="",
        search="",
        disk_menu=folder / "menu",
        build="0123456789abcdef",
    )
    scratch, output = folder / "scratch", folder / "orlop.iso"
    scratch.mkdir()
    environment = {"SOURCE_DATE_EPOCH": str(EPOCH)}
    make_iso(boot, output, scratch, lambda words: _run(words, environment), epoch=EPOCH)
    return output


def make(folder: Path, wanted: DiskImage) -> Path:
    folder.mkdir(exist_ok=True)
    output = folder / "disk"
    make_disk(wanted, output, folder, _run, epoch=EPOCH)
    return output


def _run(words: Sequence[str | os.PathLike[str]], variables: Mapping[str, str]) -> None:
    run(words, env=variables)


def part(disk: Path, start_bytes: int, size_bytes: int, output: Path) -> Path:
    """A partition as a file of its own, as sparse as the disk."""
    place = (f"skip={start_bytes // MIB}", f"count={size_bytes // MIB}")
    run(["dd", f"if={disk}", f"of={output}", "bs=1M", "conv=sparse", *place])
    return output


def on_esp(disk: Path, name: str) -> bytes:
    words = ["mtype", "-i", f"{disk}@@{ESP.start_bytes}", f"::{name}"]
    return subprocess.run(words, capture_output=True, check=True).stdout


def test_file_systems_and_partitions_are_sound(iso: Path, tmp_path: Path) -> None:
    wanted = DiskImage(iso, SIZE_BYTES, configuration=CONFIG, append="console=ttyS1")
    disk = make(tmp_path / "made", wanted)
    run(["sfdisk", "--verify", disk])
    layout = plan_disk(SIZE_BYTES)
    esp = part(disk, layout.esp.start_bytes, layout.esp.size_bytes, tmp_path / "esp")
    run(["fsck.fat", "-n", esp])
    state = part(disk, layout.state.start_bytes, layout.state.size_bytes, tmp_path / "state")
    run(["e2fsck", "-f", "-n", state])
    assert run(["blkid", "-o", "value", "-s", "LABEL", state]).strip() == "ORLOP_STATE"
    shown = run(["debugfs", "-R", "cat /lib/orlop/conf.d/50-image.yml", state])
    assert shown.encode() == CONFIG
    listed = run(["debugfs", "-R", "stat /lib/orlop/conf.d/50-image.yml", state])
    assert "Mode:  0600" in listed
    assert "User:     0" in listed
    assert disk.stat().st_blocks * 512 < 40 * MIB


def test_the_boot_partition_has_what_the_loader_reads(iso: Path, tmp_path: Path) -> None:
    disk = make(tmp_path, DiskImage(iso, SIZE_BYTES, append="console=ttyS1"))
    assert on_esp(disk, "EFI/BOOT/BOOTX64.EFI") == b"MZ" * 1000
    assert on_esp(disk, "orlop/grub.cfg") == MENU
    record = boot_record.parse(on_esp(disk, "orlop/boot-0.env"))
    assert record is not None
    assert (record.sequence, record.trial) == (1, "")
    assert record.default == record.recovery
    assert on_esp(disk, f"orlop/images/{record.default}.efi") == image()
    words = environment_block.parse(on_esp(disk, "orlop/append.env"))
    assert words == {"append": "console=ttyS1"}


def test_extras_are_where_a_machine_looks(iso: Path, tmp_path: Path) -> None:
    folder, extras = tmp_path / "tree", tmp_path / "extras"
    folder.mkdir()
    (folder / "program").write_bytes(os.urandom(MIB))
    run(["mkfs.erofs", "-L", "ORLOP_EXTRAS", extras, folder])
    data = extras.read_bytes()
    wanted = DiskImage(iso, SIZE_BYTES, extras=extras)
    disk = make(tmp_path / "made", wanted)
    record = tmp_path / "extras.json"
    digest = hashlib.sha256(data).hexdigest()
    record.write_text(json.dumps({"sha256": digest, "size_bytes": len(data)}))
    name = next(name for name in Reader(str(record)).names if digest[:16] in name)
    assert on_esp(disk, name) == data
    assert on_esp(disk, "orlop/grub.cfg") == MENU
    esp = part(disk, ESP.start_bytes, ESP.size_bytes, tmp_path / "esp")
    run(["fsck.fat", "-n", esp])
    run(["mkfs.erofs", "-L", "OTHER", tmp_path / "other", folder])
    for path, error in (("other", InvalidArgument), ("none", NotFound), ("tree", NotFound)):
        with pytest.raises(error, match=path):
            make(tmp_path / "not", DiskImage(iso, SIZE_BYTES, extras=tmp_path / path))


def test_the_same_in_gives_the_same_out(iso: Path, tmp_path: Path) -> None:
    wanted = DiskImage(iso, SIZE_BYTES, configuration=CONFIG)
    first, second = make(tmp_path / "a", wanted), make(tmp_path / "b", wanted)
    run(["cmp", first, second])
    other = make(tmp_path / "c", replace(wanted, seed="another"))
    assert disk_guid(other) != disk_guid(first)


def disk_guid(disk: Path) -> bytes:
    with disk.open("rb") as stream:
        return stream.read(1024)[512 + 56 : 512 + 72]


@pytest.fixture(scope="module")
def plain(iso: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("plain"), DiskImage(iso, SIZE_BYTES))


@pytest.mark.parametrize(
    ("kind", "name"), [(Format.QCOW2, "qcow2"), (Format.VMDK, "vmdk"), (Format.VHD, "vpc")]
)
def test_formats_of_hypervisors(plain: Path, tmp_path: Path, kind: Format, name: str) -> None:
    output = tmp_path / "output"
    convert(plain, output, kind, _run)
    run(["qemu-img", "compare", "-f", "raw", "-F", name, plain, output])
    assert output.stat().st_blocks * 512 < 40 * MIB


def test_what_cannot_be_is_said(iso: Path, tmp_path: Path) -> None:
    for wanted, words in (
        (DiskImage(iso, 100 * MIB), "too small"),
        (DiskImage(iso, SIZE_BYTES, esp_bytes=MIB), "not possible"),
    ):
        with pytest.raises(InvalidArgument, match=words):
            make(tmp_path, wanted)
    with pytest.raises(NotFound):
        make(tmp_path, DiskImage(tmp_path / "none", SIZE_BYTES))
    (tmp_path / "text").write_bytes(b"no ISO")
    with pytest.raises(OrlopError, match="not an ISO"):
        make(tmp_path, DiskImage(tmp_path / "text", SIZE_BYTES))


def test_a_medium_whose_table_points_beyond_every_disk(iso: Path, tmp_path: Path) -> None:
    data = bytearray(iso.read_bytes())
    table = int.from_bytes(data[512 + 72 : 512 + 80], "little") * 512
    count, each = struct.unpack_from("<II", data, 512 + 80)
    struct.pack_into("<QQ", data, table + each + 32, 2**60, 2**64 - 1)
    struct.pack_into("<I", data, 512 + 88, crc32(data[table : table + count * each]))
    struct.pack_into("<I", data, 512 + 16, 0)
    struct.pack_into("<I", data, 512 + 16, crc32(data[512 : 512 + 92]))
    path = tmp_path / "hostile.iso"
    path.write_bytes(data)
    with pytest.raises(InvalidArgument, match="no EFI partition"):
        medium.read_source(str(path))
