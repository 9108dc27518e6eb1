"""Formatting a real block device: a loop device of a file of the test's own."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orlop.lib import block_ioctl, partition_table
from orlop.lib.block_ioctl import PartitionChange
from orlop.lib.children import Children
from orlop.lib.errors import Conflict, OrlopError
from orlop.system.storage import formatting
from orlop.system.storage.block_devices import read_volume

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.engine]

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """An empty file of 200 MiB, and the name of its loop device."""
    path = tmp_path / "disk"
    path.touch()
    os.truncate(path, 200 * MIB)
    words = ["losetup", "--find", "--show", "--partscan", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no loop devices here: {done.stderr}")
    device = done.stdout.strip()
    try:
        yield path, device.removeprefix("/dev/")
    finally:
        for number in (1,):
            descriptor = os.open(device, os.O_RDONLY)
            try:
                block_ioctl.change_partition(descriptor, PartitionChange.DELETE, number)
            except OSError:
                pass
            os.close(descriptor)
        subprocess.run(["losetup", "--detach", device], check=True)


def format_disk(name: str, fstype: str = "ext4") -> str:
    async def scenario() -> str:
        children = Children()
        children.start()
        try:
            return await formatting.format_disk(name, fstype, children)
        finally:
            children.close()

    return asyncio.run(scenario())


@pytest.fixture(autouse=True)
def maker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        formatting.MAKERS, "ext4", ("/usr/sbin/mke2fs", *formatting.MAKERS["ext4"][1:])
    )


def content_of_partition(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(MIB)
        return file.read(1 << 17)


def test_an_empty_disk_gets_a_table_and_a_file_system(disk: tuple[Path, str]) -> None:
    path, name = disk
    part = format_disk(name)
    assert part == f"/dev/{name}p1"
    data = path.read_bytes()[:MIB]
    place = partition_table.table_place(data[512:1024], 512)
    assert place is not None
    partition_table.parse_gpt(data[512:1024], data[place[0] : sum(place)], 512)
    inner = path.with_name("inner")
    inner.write_bytes(content_of_partition(path))
    volume = read_volume(str(inner))
    assert volume is not None
    assert (volume.superblock.fstype, volume.superblock.label) == ("ext4", "ORLOP_STATE")
    with pytest.raises(Conflict, match="a GPT partition table"):
        format_disk(name)


@pytest.mark.parametrize(("offset", "what"), [(1080, "ext4"), (200 * MIB - 100, "unknown kind")])
def test_a_disk_with_something_on_it_is_left_alone(
    disk: tuple[Path, str], offset: int, what: str
) -> None:
    path, name = disk
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\x53\xef")
    before = path.read_bytes()
    with pytest.raises(Conflict, match=f"not empty, there is .*{what}.* left as it is"):
        format_disk(name)
    assert path.read_bytes() == before


def test_what_was_interrupted_is_done_again(disk: tuple[Path, str]) -> None:
    path, name = disk
    device = f"/dev/{name}"
    formatting.mark(device)
    descriptor = os.open(device, os.O_RDONLY)
    block_ioctl.change_partition(descriptor, PartitionChange.DELETE, 1)
    os.close(descriptor)
    at = partition_table.MARK_AT
    assert path.read_bytes()[at:].startswith(formatting.MARK)
    format_disk(name)
    assert not path.read_bytes()[at:].startswith(formatting.MARK)


def test_a_maker_that_fails_is_said(
    disk: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(formatting.MAKERS, "ext4", ("/bin/false",))
    with pytest.raises(OrlopError, match="false failed on"):
        format_disk(disk[1])


def test_a_disk_in_use_is_left_alone(disk: tuple[Path, str]) -> None:
    descriptor = os.open(f"/dev/{disk[1]}", os.O_RDWR | os.O_EXCL)
    try:
        with pytest.raises(OrlopError, match="busy"):
            format_disk(disk[1])
    finally:
        os.close(descriptor)
