"""Which disk is meant, and which are refused."""

from __future__ import annotations

import os
from binascii import crc32
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from orlop.lib import disk_layout, partition_table
from orlop.lib.errors import Conflict, InvalidArgument, NotFound
from orlop.lib.partition_table import MARK_AT
from orlop.system.install import disks as install_disks
from orlop.system.install.disks import MARK, Content, Disk, choose, choose_first, look, refusal
from tests.unit.system.disk_file import make_disk, put

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


def test_nobody_gives_up_the_state_of_a_machine_without_having_looked() -> None:
    locked = replace(USED, is_machine=True)
    found = refusal(locked, wipe=True, keep_state=False, unattended=True)
    assert found is not None
    assert "only a person" in str(found)
    assert refusal(locked, wipe=True, keep_state=False) is None
    kept = refusal(replace(OWN, is_machine=True), wipe=False, keep_state=True, unattended=True)
    assert kept is None
    assert refusal(USED, wipe=True, keep_state=False, unattended=True) is None


def test_two_ways_to_one_disk() -> None:
    busy = replace(EMPTY, busy="/dev/vda1 is mounted at /x")
    way, stranger = replace(EMPTY, name="vdb"), replace(EMPTY, name="vdc", ids=("virtio-c",))
    nameless = replace(EMPTY, name="vdd", ids=())
    disks = [busy, way, stranger, nameless, replace(busy, name="vde", ids=())]
    assert "/dev/vda has the same id" in install_disks.with_twins(way, disks).busy
    for other in (busy, stranger, nameless):
        assert install_disks.with_twins(other, disks) is other


def test_the_only_disk_is_not_the_one_beside_one_that_cannot_be_read() -> None:
    broken = replace(EMPTY, name="vdb", ids=("virtio-b",), problem="cannot be read: Input/output")
    with pytest.raises(Conflict, match="virtio-system, virtio-b"):
        choose("only", [EMPTY, broken])


@pytest.mark.parametrize(
    ("mounts", "is_running"),
    [
        ([("/dev/vdz3", "/var")], True),
        ([("/dev/vdz3", "/mnt/old")], False),
        ([("/dev/vdz3", "/var"), ("/dev/vdz2", "/mnt")], False),
        ([("/dev/vdy3", "/var"), ("/dev/vdz3", "/mnt/old")], False),
    ],
)
def test_only_the_state_at_var_is_that_of_this_machine(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mounts: list[tuple[str, str]],
    *,
    is_running: bool,
) -> None:
    """Else a configuration for another disk would be written into this machine's own state."""
    (tmp_path / "vdz").mkdir()
    for number in (1, 2, 3):
        (tmp_path / "vdz" / f"vdz{number}").mkdir()
        (tmp_path / f"vdz{number}").mkdir()
    monkeypatch.setattr(install_disks, "look", lambda _: (Content.INSTALLED, [], True))
    found = install_disks.read_one("vdz", mounts, "", str(tmp_path))
    assert (bool(found.busy), found.is_running_system) == (True, is_running)


def test_a_disk_that_is_another_one_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vdz").mkdir()
    (tmp_path / "vdz" / "serial").write_text("a")
    monkeypatch.setattr(install_disks, "look", lambda _: (Content.EMPTY, [], False))
    disk = install_disks.read_one("vdz", (), "", str(tmp_path))
    assert not install_disks.has_changed(replace(disk, busy="mine"), "", str(tmp_path))
    (tmp_path / "vdz" / "serial").write_text("b")
    assert install_disks.has_changed(disk, "", str(tmp_path))


def test_a_hidden_way_to_a_disk_is_none(tmp_path: Path) -> None:
    (tmp_path / "nvme0c0n1").mkdir()
    (tmp_path / "nvme0c0n1" / "size").write_text("1000")
    assert len(install_disks.read_all("", str(tmp_path))) == 1
    (tmp_path / "nvme0c0n1" / "hidden").write_text("1")
    assert install_disks.read_all("", str(tmp_path)) == []


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
    return make_disk(tmp_path / "disk", SIZE)


def test_what_is_on_a_disk(disk: Path) -> None:
    assert look(str(disk)) == (Content.EMPTY, [], "")
    put(disk, MARK_AT, MARK)
    assert look(str(disk))[0] is Content.UNFINISHED
    # What others put beside the mark is theirs.
    put(disk, 1080, b"\x53\xef")
    content, found, _ = look(str(disk))
    assert (content, found) == (Content.FOREIGN, ["a file system, ext2, ext3 or ext4"])


def test_an_installation_of_ours_and_one_that_lost_its_boot_partition(disk: Path) -> None:
    layout = disk_layout.plan_disk(SIZE)
    for write in partition_table.make_table(layout.partitions, SIZE, 512, bytes(range(64))):
        put(disk, write.offset_bytes, write.data)
    # What may be locked is nobody's to overwrite.
    assert look(str(disk)) == (Content.FOREIGN, ["partitions of Orlop"], "")
    put(disk, layout.state.start_bytes + 0x438, b"\x53\xef")
    content, _, state = look(str(disk))
    assert (content, state) == (Content.UNFINISHED, "ext4")
    put(disk, layout.esp.start_bytes + 510, b"\x55\xaa")
    # UEFI starts it, but no BIOS does.
    assert look(str(disk))[0] is Content.UNFINISHED
    put(disk, 0, b"code")
    assert look(str(disk))[0] is Content.INSTALLED
    put(disk, MARK_AT, MARK)
    put(disk, 510, bytes(2))
    assert look(str(disk)) == (
        Content.UNFINISHED,
        ["an unfinished installation of Orlop"],
        "",
    )
    with disk.open("rb") as file:

        def read(offset: int, size: int) -> bytes:
            return os.pread(file.fileno(), size, offset)

        places = install_disks.own_partitions(read, 512)
    assert places is not None
    assert places["orlop-state"] == (layout.state.start_bytes, layout.state.size_bytes)


def test_an_encrypted_state_is_known_by_its_label(disk: Path) -> None:
    layout = disk_layout.plan_disk(SIZE)
    for write in partition_table.make_table(layout.partitions, SIZE, 512, bytes(range(64))):
        put(disk, write.offset_bytes, write.data)
    put(disk, layout.esp.start_bytes + 510, b"\x55\xaa")
    put(disk, layout.state.start_bytes, b"LUKS\xba\xbe\0\2")
    assert look(str(disk)) == (Content.INSTALLED, ["an installation of Orlop"], "")
    put(disk, layout.state.start_bytes + 24, b"ORLOP_STATE")
    put(disk, 0, b"code")
    assert look(str(disk)) == (Content.INSTALLED, ["an installation of Orlop"], "crypto_LUKS")


def test_a_table_that_points_beyond_every_disk(disk: Path) -> None:
    """It is the disk of a stranger, and must not keep anybody from looking at the others."""
    layout = disk_layout.plan_disk(SIZE)
    _, head, _ = partition_table.make_table(layout.partitions, SIZE, 512, bytes(range(64)))
    for place in ((72, 2**64 - 1), (72, 2**54)):
        header = bytearray(head.data[:92])
        header[place[0] : place[0] + 8] = place[1].to_bytes(8, "little")
        header[16:20] = bytes(4)
        header[16:20] = crc32(header).to_bytes(4, "little")
        put(disk, 512, bytes(header))
        assert look(str(disk))[0] is Content.FOREIGN
