"""Clusters that belong to no file are given back, and nothing else is touched."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from orlop.lib import fat_orphans, fat_reader
from orlop.lib.errors import InvalidArgument
from orlop.lib.fat32 import make_fat32
from orlop.lib.fat_reader import FileSystem

if TYPE_CHECKING:
    from pathlib import Path

SIZE_BYTES = 40 << 20
FILES = {"a/b/LONG NAME.efi": b"x" * 9000, "a/empty": b"", "boot.env": b"y" * 700}
LAST = 0x0FFFFFFF


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return make_disk(tmp_path / "esp", FILES)


def make_disk(path: Path, files: dict[str, bytes]) -> Path:
    with path.open("w+b") as file:
        file.truncate(SIZE_BYTES)

        def write(offset: int, data: bytes) -> None:
            file.seek(offset)
            file.write(data)

        make_fat32(write, SIZE_BYTES, "ORLOP_ESP", dict(files), epoch=1_700_000_000, volume_id=7)
    return path


def system_of(disk: Path) -> FileSystem:
    data = disk.read_bytes()
    return FileSystem(lambda offset, size: data[offset : offset + size])


def set_entries(disk: Path, values: dict[int, int]) -> None:
    """In both tables, as the kernel does."""
    system = system_of(disk)
    with disk.open("r+b") as file:
        for start in system.tables_at:
            for cluster, value in values.items():
                file.seek(start + cluster * 4)
                file.write(struct.pack("<I", value))


def test_nothing_is_lost_and_nothing_is_written(disk: Path) -> None:
    before = disk.read_bytes()
    assert fat_orphans.give_back(str(disk)) == 0
    assert disk.read_bytes() == before


def test_a_chain_of_nobody_is_free_again(disk: Path) -> None:
    before = disk.read_bytes()
    system = system_of(disk)
    # A chain, one that leads nowhere, one with bits that are not ours, and a bad block.
    set_entries(
        disk, {2000: 2001, 2001: 2002, 2002: LAST, 3000: 5, 4000: 0xF0000001, 5000: LAST - 8}
    )
    assert fat_orphans.find(system_of(disk)) == [2000, 2001, 2002, 3000, 4000]
    assert fat_orphans.give_back(str(disk)) == 5
    set_entries(disk, {4000: 0, 5000: 0})
    after = bytearray(disk.read_bytes())
    count = slice(system.info_at + 488, system.info_at + 492)
    assert after[count] == b"\xff\xff\xff\xff"
    after[count] = before[count]
    assert after == before
    for name, content in FILES.items():
        read = system_of(disk).read
        assert fat_reader.read_file(read, name) == content


def test_what_is_damaged_is_left_alone(disk: Path) -> None:
    system = system_of(disk)
    [used, *_] = [
        cluster
        for cluster in range(3, 40)
        if struct.unpack_from("<I", system.table, cluster * 4)[0] == cluster + 1
    ]
    for value in (2, 0, used):  # two files have a cluster, a chain leads nowhere, a circle
        set_entries(disk, {used: value, 2000: LAST})
        before = disk.read_bytes()
        with pytest.raises(InvalidArgument):
            fat_orphans.give_back(str(disk))
        assert disk.read_bytes() == before


def test_files_of_a_folder_that_is_not_seen_whole_are_not_lost(tmp_path: Path) -> None:
    """It has one entry more than are looked at."""
    count = fat_reader.MAX_FOLDER_BYTES // 32 - 2
    many = {f"many/{number:08}": b"" for number in range(count)}
    disk = make_disk(tmp_path / "esp", many)
    assert fat_orphans.give_back(str(disk)) == 0
    disk = make_disk(tmp_path / "esp", {**many, f"many/{count:08}": b"data"})
    before = disk.read_bytes()
    with pytest.raises(InvalidArgument, match="larger"):
        fat_orphans.give_back(str(disk))
    assert disk.read_bytes() == before


def test_no_other_kind_of_file_system(tmp_path: Path) -> None:
    (tmp_path / "none").write_bytes(bytes(4096))
    with pytest.raises(InvalidArgument):
        fat_orphans.give_back(str(tmp_path / "none"))
