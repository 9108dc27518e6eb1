"""Which disk is meant, and which are refused."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from orlop.lib import disk_layout, partition_table
from orlop.lib.errors import Conflict, InvalidArgument, NotFound
from orlop.system import install_disks
from orlop.system.install_disks import MARK, Content, Disk, choose, choose_first, look, refusal

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
SIZE = 512 * MIB
EMPTY = Disk("vda", "/dev/vda", ("virtio-system",), "system", "", SIZE, Content.EMPTY)
USED = replace(EMPTY, content=Content.FOREIGN, found=("a file system, XFS",))
OWN = replace(EMPTY, content=Content.INSTALLED, found=("an installation",), has_state=True)


@pytest.mark.parametrize(
    ("disk", "wipe", "keep_state", "refused"),
    [
        (EMPTY, False, False, None),
        (EMPTY, False, True, "no state"),
        (USED, False, False, "XFS"),
        (USED, True, False, None),
        (OWN, False, False, "keep-state"),
        (OWN, True, False, None),
        (OWN, False, True, None),
        (OWN, True, True, "either"),
        (replace(EMPTY, content=Content.UNFINISHED), False, False, None),
        (replace(OWN, content=Content.UNFINISHED), False, False, "keep-state"),
        (replace(EMPTY, busy="mounted"), True, False, "in use"),
        (replace(EMPTY, problem="is the medium"), True, False, "is the medium"),
        (replace(OWN, busy="mounted", is_running_system=True), True, False, "in use"),
        (replace(OWN, busy="mounted", is_running_system=True), False, True, None),
    ],
)
def test_refusals(disk: Disk, *, wipe: bool, keep_state: bool, refused: str | None) -> None:
    found = refusal(disk, wipe=wipe, keep_state=keep_state)
    if refused is None:
        assert found is None
    else:
        assert found is not None
        assert refused in f"{found} {found.hint}"


def test_the_disk_that_is_meant(tmp_path: Path) -> None:
    other = replace(EMPTY, name="vdb", device="/dev/vdb", ids=("virtio-data",))
    sys_block = str(tmp_path)
    for name, serial in (("vda", "system"), ("vdb", "data")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "serial").write_text(serial)
    disks = [EMPTY, other]
    for reference in (
        "vdb",
        "/dev/vdb",
        "virtio-data",
        "ID=virtio-data",
        "SERIAL=data",
        "/dev/disk/by-id/virtio-data",
    ):
        assert choose(reference, disks, sys_block) is other
    assert choose("sda", disks, sys_block) is None
    with pytest.raises(Conflict, match="not only one disk: virtio-system, virtio-data"):
        choose("only", disks, sys_block)
    assert choose("only", [EMPTY, replace(other, problem="is read-only")], sys_block) is EMPTY
    with pytest.raises(InvalidArgument):
        choose("NAME=x", disks, sys_block)


def test_several_disks_of_one_name() -> None:
    twin = replace(EMPTY, name="vdb", device="/dev/vdb")
    with pytest.raises(Conflict, match="/dev/vda, /dev/vdb"):
        choose("virtio-system", [EMPTY, twin])


def test_the_first_that_is_there() -> None:
    assert choose_first(["ID=none", "virtio-system"], [EMPTY]) is EMPTY
    with pytest.raises(NotFound, match="there is virtio-system"):
        choose_first(["ID=none"], [EMPTY])


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.touch()
    os.truncate(path, SIZE)
    return path


def put(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def test_what_is_on_a_disk(disk: Path) -> None:
    assert look(str(disk)) == (Content.EMPTY, [], False)
    put(disk, 512, MARK)
    assert look(str(disk))[0] is Content.UNFINISHED
    # What others put beside the mark is theirs.
    put(disk, 1080, b"\x53\xef")
    content, found, _ = look(str(disk))
    assert (content, found) == (Content.FOREIGN, ["a file system, ext2, ext3 or ext4"])


def test_an_installation_of_ours_and_one_that_lost_its_boot_partition(disk: Path) -> None:
    layout = disk_layout.plan_disk(SIZE)
    for write in partition_table.make_table(layout.partitions, SIZE, 512, bytes(range(64))):
        put(disk, write.offset_bytes, write.data)
    content, _, has_state = look(str(disk))
    assert (content, has_state) == (Content.UNFINISHED, True)
    put(disk, layout.esp.start_bytes + 510, b"\x55\xaa")
    assert look(str(disk))[0] is Content.INSTALLED
    with disk.open("rb") as file:

        def read(offset: int, size: int) -> bytes:
            return os.pread(file.fileno(), size, offset)

        places = install_disks.own_partitions(read, 512)
    assert places is not None
    assert places["orlop-state"] == (layout.state.start_bytes, layout.state.size_bytes)
