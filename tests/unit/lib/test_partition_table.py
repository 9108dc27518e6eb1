"""Partition tables: what other programs make of those that are written here."""

import re
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.lib.partition_table import (
    BIOS_BOOT,
    EFI_SYSTEM,
    LINUX_DATA,
    Layout,
    Partition,
    grow_gpt,
    grow_mbr,
    make_gpt,
    make_table,
    parse_gpt,
    table_place,
)

MIB = 1 << 20
GUIDS = bytes(range(32))


def make(path: Path, size: int, sector: int = 512) -> Layout:
    path.touch()
    with path.open("r+b") as disk:
        disk.truncate(size)
    layout = make_gpt("ORLOP_STATE", size, sector, GUIDS)
    write(path, layout)
    return layout


def write(path: Path, layout: Layout) -> None:
    with path.open("r+b") as disk:
        for piece in layout.writes:
            disk.seek(piece.offset_bytes)
            disk.write(piece.data)


def grown(path: Path, number: int, sector: int = 512) -> Layout | None:
    data = path.read_bytes()
    place = table_place(data[sector : 2 * sector], sector)
    assert place is not None
    table = parse_gpt(data[sector : 2 * sector], data[place[0] : sum(place)], sector)
    return grow_gpt(table, number, len(data))


def extents(path: Path) -> list[tuple[int, int]]:
    """First sectors and numbers of sectors, as util-linux reads them."""
    words = ["partx", "--show", "--noheadings", "--output", "START,SECTORS", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return [(int(a), int(b)) for a, b in map(str.split, done.stdout.splitlines())]


def backup_is_whole(path: Path) -> bool:
    data = path.read_bytes()
    header = data[-512:]
    place = table_place(header, 512)
    assert place is not None
    parse_gpt(header, data[place[0] : sum(place)], 512)
    front = data[1024 : 1024 + place[1]]
    return front == data[place[0] : sum(place)]


def add_to_mbr(sector: bytearray, number: int, start: int, count: int, kind: int = 0x83) -> None:
    at = 446 + 16 * (number - 1)
    sector[at : at + 16] = struct.pack("<B3sB3sII", 0, b"", kind, b"", start, count)
    sector[510:512] = b"\x55\xaa"


def test_a_new_table_is_one_that_others_read(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    layout = make(disk, 64 * MIB)
    assert (layout.start_bytes, layout.size_bytes) == (MIB, 62 * MIB)
    assert extents(disk) == [(2048, 62 * 2048)]
    assert backup_is_whole(disk)
    words = ["partx", "--show", "--noheadings", "--output", "NAME,TYPE", str(disk)]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert shown.split() == ["ORLOP_STATE", "0fc63daf-8483-4772-8e79-3d69d8477de4"]


def test_several_partitions_and_code_to_boot(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.touch()
    parts = (
        Partition("one", BIOS_BOOT, MIB, MIB),
        Partition("two", EFI_SYSTEM, 2 * MIB, 128 * MIB),
        Partition("three", LINUX_DATA, 130 * MIB, 69 * MIB),
    )
    writes = make_table(parts, 200 * MIB, 512, bytes(range(64)), b"\xeb\xfe" * 220)
    with disk.open("r+b") as file:
        file.truncate(200 * MIB)
    write(disk, Layout(writes, 0, 0))
    assert extents(disk) == [(2048, 2048), (4096, 128 * 2048), (130 * 2048, 69 * 2048)]
    assert backup_is_whole(disk)
    assert disk.read_bytes()[:440] == b"\xeb\xfe" * 220
    dumped = subprocess.run(
        ["sfdisk", "--dump", str(disk)], capture_output=True, text=True, check=True
    )
    assert dumped.stderr == ""
    shown = dumped.stdout.lower()
    assert "label: gpt" in shown
    assert "21686148-6449-6e6f-744e-656564454649" in shown
    assert "c12a7328-f81f-11d2-ba4b-00a0c93ec93b" in shown
    assert len(set(re.findall(r"uuid=([0-9a-f-]{36})", shown))) == 3
    subprocess.run(["sfdisk", "--verify", str(disk)], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("start", "size"), [(0, 5 * MIB), (MIB, 200 * MIB), (MIB + 512, MIB), (2 * MIB, 0), (3, MIB)]
)
def test_partitions_that_cannot_be(start: int, size: int) -> None:
    with pytest.raises(InvalidArgument):
        make_table((Partition("x", LINUX_DATA, start, size),), 100 * MIB, 512, GUIDS)
    first = Partition("first", LINUX_DATA, MIB, 10 * MIB)
    with pytest.raises(InvalidArgument, match="overlaps"):
        make_table((first, replace(first, start_bytes=10 * MIB)), 100 * MIB, 512, bytes(48))


def test_large_sectors() -> None:
    layout = make_gpt("x", 64 * MIB, 4096, GUIDS)
    assert layout.start_bytes == MIB
    header = layout.writes[-2].data
    assert table_place(header, 4096) == (2 * 4096, 128 * 128)


def test_grows_to_the_end_of_a_larger_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    make(disk, 64 * MIB)
    with disk.open("r+b") as file:
        file.truncate(200 * MIB)
    layout = grown(disk, 1)
    assert layout is not None
    assert layout.start_bytes == MIB
    assert layout.size_bytes == 198 * MIB
    write(disk, layout)
    assert extents(disk) == [(2048, 198 * 2048)]
    assert backup_is_whole(disk)
    assert grown(disk, 1) is None


def test_the_old_table_counts_until_the_last_write(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    make(disk, 64 * MIB)
    with disk.open("r+b") as file:
        file.truncate(200 * MIB)
    layout = grown(disk, 1)
    assert layout is not None
    write(disk, Layout(layout.writes[:1], 0, 0))
    assert extents(disk) == [(2048, 62 * 2048)]


def test_a_partition_behind_it_is_not_run_over(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    make(disk, 64 * MIB)
    with disk.open("r+b") as file:
        file.truncate(200 * MIB)
    data = disk.read_bytes()
    place = table_place(data[512:1024], 512)
    assert place is not None
    table = parse_gpt(data[512:1024], data[place[0] : sum(place)], 512)
    second = bytearray(table.entries[:128])
    struct.pack_into("<QQ", second, 32, 70 * 2048, 80 * 2048 - 1)
    both = replace(table, entries=table.entries[:128] + bytes(second) + table.entries[256:])
    with pytest.raises(InvalidArgument, match="partition 2 is behind partition 1"):
        grow_gpt(both, 1, 200 * MIB)
    layout = grow_gpt(both, 2, 200 * MIB)
    assert layout is not None
    write(disk, layout)
    assert extents(disk) == [(2048, 62 * 2048), (70 * 2048, 129 * 2048)]
    assert backup_is_whole(disk)
    with pytest.raises(InvalidArgument, match="no partition 7"):
        grow_gpt(both, 7, 200 * MIB)


def test_damage_is_noticed(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    make(disk, 64 * MIB)
    data = bytearray(disk.read_bytes())
    header = bytes(data[512:1024])
    assert table_place(bytes(512), 512) is None
    for at in range(8, 92):
        broken = bytearray(header)
        broken[at] ^= 0x55
        with pytest.raises(InvalidArgument):
            table_place(bytes(broken), 512)
    data[1024 + 40] ^= 1
    with pytest.raises(InvalidArgument, match="damaged"):
        parse_gpt(header, bytes(data[1024 : 1024 + 128 * 128]), 512)


def test_primary_partition_of_an_mbr(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.touch()
    with disk.open("r+b") as file:
        file.truncate(64 * MIB)
    table = bytearray(512)
    add_to_mbr(table, 1, 2048, 20480)
    add_to_mbr(table, 2, 22528, 20480)
    sector = bytes(table)
    with pytest.raises(InvalidArgument, match="behind partition 1"):
        grow_mbr(sector, 1, 64 * MIB, 512)
    with pytest.raises(InvalidArgument, match="partition 3"):
        grow_mbr(sector, 3, 64 * MIB, 512)
    layout = grow_mbr(sector, 2, 64 * MIB, 512)
    assert layout is not None
    write(disk, layout)
    assert extents(disk) == [(2048, 20480), (22528, 64 * 2048 - 22528)]
    assert grow_mbr(layout.writes[0].data, 2, 64 * MIB, 512) is None
    with pytest.raises(InvalidArgument, match="no primary partition"):
        grow_mbr(bytes(512), 1, 64 * MIB, 512)
