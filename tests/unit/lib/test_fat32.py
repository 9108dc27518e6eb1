"""FAT32 file systems: dosfstools finds nothing wrong with them, and mtools reads the files back."""

import random
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orlop.lib.errors import InvalidArgument, NotFound, ResourceExhausted
from orlop.lib.fat32 import Piece, make_fat32, plan_geometry
from orlop.lib.fat_entries import FILE, entry, long_entries
from orlop.lib.fat_reader import entries, read_file

if TYPE_CHECKING:
    from orlop.lib.fat32 import Content

MIB = 1 << 20
EPOCH = 1_700_000_000
FILES = {
    "EFI/BOOT/BOOTX64.EFI": b"MZ" * 300_000,
    "orlop/grub.cfg": b"# menu\n",
    "orlop/boot-0.env": bytes(range(256)) * 4,
    "orlop/images/0123456789abcdef.efi": b"x" * 5_000_001,
    "orlop/images/0123456789abcd00.efi": b"y" * 4096,
    "orlop/images/0123456789abcdef.env": b"",
    "UPPER.TXT": b"u",
    "a name with spaces, and more than 26 letters.text": b"long",
    "thirteen-long": b"13",
}


def make(path: Path, size: int, files: "Mapping[str, Content]", sector: int = 512) -> None:
    with path.open("w+b") as disk:
        disk.truncate(size)

        def write(offset: int, data: bytes) -> None:
            disk.seek(offset)
            disk.write(data)

        make_fat32(
            write, size, "ORLOP_ESP", files, epoch=EPOCH, volume_id=0x12345678, sector_bytes=sector
        )


def check(path: Path) -> None:
    done = subprocess.run(
        ["fsck.fat", "-n", str(path)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert "differ" not in done.stdout, done.stdout


def read(path: Path, name: str) -> bytes:
    return subprocess.run(
        ["mtype", "-i", str(path), f"::{name}"], capture_output=True, check=True
    ).stdout


@pytest.mark.parametrize("size_mib", [64, 128, 512, 1500])
def test_every_file_is_there(tmp_path: Path, size_mib: int) -> None:
    disk = tmp_path / "disk"
    make(disk, size_mib * MIB, FILES)
    check(disk)
    for name, data in FILES.items():
        assert read(disk, name) == data
    assert disk.stat().st_blocks * 512 < 24 * MIB


def test_large_sectors(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    make(disk, 512 * MIB, FILES, 4096)
    check(disk)
    assert read(disk, "orlop/grub.cfg") == FILES["orlop/grub.cfg"]


def test_the_same_bytes_on_a_disk_that_was_in_use(tmp_path: Path) -> None:
    """What is not written is not looked at."""
    disk = tmp_path / "disk"
    disk.write_bytes(b"\xa5" * 40 * MIB)
    with disk.open("r+b") as file:

        def write(offset: int, data: bytes) -> None:
            file.seek(offset)
            file.write(data)

        make_fat32(write, 40 * MIB, "ORLOP_ESP", FILES, epoch=EPOCH, volume_id=1)
    check(disk)
    for name, data in FILES.items():
        assert read(disk, name) == data


def test_files_can_come_from_files_and_folders_can_be_large(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(range(251)) * 20_000)
    many: dict[str, Content] = {f"orlop/{n:016x}.efi": b"%d" % n for n in range(500)}
    disk = tmp_path / "disk"
    make(disk, 128 * MIB, {"image": source, "part": Piece(source, 300, 2_000_000), **many})
    check(disk)
    assert read(disk, "part") == source.read_bytes()[300:2_000_300]
    assert read(disk, "image") == source.read_bytes()
    assert read(disk, f"orlop/{499:016x}.efi") == b"499"


def test_what_others_add_and_remove_stays_sound(tmp_path: Path) -> None:
    disk, new = tmp_path / "disk", tmp_path / "new"
    make(disk, 128 * MIB, FILES)
    new.write_bytes(b"n" * 3 * MIB)
    run = ["mcopy", "-i", str(disk), str(new), "::orlop/images/fedcba9876543210.efi"]
    subprocess.run(run, check=True)
    subprocess.run(["mdel", "-i", str(disk), "::orlop/grub.cfg"], check=True)
    check(disk)
    assert read(disk, "orlop/images/fedcba9876543210.efi") == new.read_bytes()


def test_linux_and_the_firmware_see_label_and_date(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    make(disk, 128 * MIB, FILES)
    words = ["blkid", "-p", "-o", "value", "-s", "LABEL", "-s", "VERSION", "-s", "UUID", str(disk)]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert shown.split() == ["ORLOP_ESP", "1234-5678", "FAT32"]
    listed = subprocess.run(
        ["mdir", "-i", str(disk), "::orlop"], check=True, capture_output=True, text=True
    )
    assert "2023-11-14" in listed.stdout


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with pytest.raises(InvalidArgument, match="not a size"):
        make(disk, 30 * MIB, FILES)
    with pytest.raises(InvalidArgument, match="not a size"):
        plan_geometry(128 * MIB, 4096)
    with pytest.raises(ResourceExhausted, match="do not fit"):
        make(disk, 64 * MIB, {"a": b"x" * 65 * MIB})
    for name in ("A", "a/b"):
        with pytest.raises(InvalidArgument, match="twice"):
            make(disk, 64 * MIB, {"a": b"", name: b""})
    for name in ("a/../b", "x:y", "ä", "", "end.", "a//b", "a\nb"):
        with pytest.raises(InvalidArgument, match="not a name"):
            make(disk, 64 * MIB, {name: b""})


def reader(path: Path) -> Callable[[int, int], bytes]:
    return part_of(path.read_bytes())


def part_of(data: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, size: data[offset : offset + size]


def test_our_own_reader_finds_every_file(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    make(disk, 64 * MIB, FILES)
    for name, data in FILES.items():
        assert read_file(reader(disk), name.lower()) == data
    for name in ("nothing", "orlop", "orlop/none", "upper.txt/x", ""):
        with pytest.raises(NotFound):
            read_file(reader(disk), name)


@pytest.mark.parametrize("sectors", [1440, 5760, 40960])
def test_it_reads_the_small_ones_of_mtools(tmp_path: Path, sectors: int) -> None:
    disk, source = tmp_path / "disk", tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 1200)
    make_it = ["mformat", "-i", str(disk), "-C", "-T", str(sectors), "-h", "1", "-s", "1", "::"]
    subprocess.run(make_it, check=True)
    subprocess.run(["mmd", "-i", str(disk), "::/EFI", "::/EFI/BOOT"], check=True)
    names = ("::/EFI/BOOT/BOOTX64.EFI", "::/EFI/BOOT/second.cfg")
    for name in names:
        subprocess.run(["mcopy", "-i", str(disk), str(source), name], check=True)
    for name in names:
        assert read_file(reader(disk), name.removeprefix("::/")) == source.read_bytes()


def test_a_damaged_one_is_an_error_and_ends(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    make(disk, 64 * MIB, {"orlop/images/a.efi": b"x" * 100_000, "b": b"y"})
    head = disk.read_bytes()[: 2 * MIB]
    chance = random.Random(1)
    for _ in range(300):
        data = bytearray(head)
        for _ in range(8):
            data[chance.choice((chance.randrange(512), chance.randrange(len(data))))] = (
                chance.randrange(256)
            )
        try:
            read_file(part_of(bytes(data)), "orlop/images/a.efi")
        except (InvalidArgument, NotFound):
            pass


def test_what_is_left_of_other_names_is_no_part_of_a_name() -> None:
    """Of a file that was removed, and of one that a power cut has kept from coming about."""
    short = entry(b"SHORT   EFI", FILE, 0, 0, (0, 0))
    long = b"".join(
        (
            long_entries("an older name", b"ANOLDE~1   "),
            long_entries("thirteen-long", b"THIRTE~1   "),
        )
    )
    alias = entry(b"THIRTE~1   ", FILE, 0, 0, (0, 0))
    removed = b"\xe5" + long_entries("removed", b"REMOVE~1   ")[1:]
    assert [name for name, _ in entries(long + alias + removed + short)] == [
        "thirteen-long",
        "SHORT.EFI",
    ]
