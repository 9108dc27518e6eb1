"""Two disks that are to have the same: which, what is refused, and in which order they are made."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from orlop.lib import disk_layout, partition_table
from orlop.lib.errors import OrlopError
from orlop.system.install import array, pairs, plan, repair, unfinished_half
from orlop.system.install import disks as install_disks
from orlop.system.install.disks import MARK, Content, Disk
from orlop.system.install.plan import BootPartition, NewState, Put
from orlop.system.storage import mirror
from orlop.system.storage.superblock import HEAD_BYTES
from tests.unit.system.test_halves import ONE, alone, superblock
from tests.unit.system.test_halves import OTHER as HALF
from tests.unit.system.test_install_disks import EMPTY, MIB, OWN, SIZE
from tests.unit.system.test_install_plan import GUIDS, LOADER

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.system.install.target import Target
    from orlop.wire.compose_model import Json

OTHER = replace(EMPTY, name="vdb", device="/dev/vdb", ids=("virtio-other",))
THIRD = replace(EMPTY, name="vdc", device="/dev/vdc", ids=("virtio-third",))
DISKS = [EMPTY, OTHER, THIRD]
REQUEST: dict[str, Any] = {
    "disk": ["vda"],
    "mirror": ["virtio-gone", "virtio-other"],
    "wipe": False,
    "keep_state": False,
    "unattended": False,
}
GUIDS_OF = GUIDS, bytes(range(100, 164))


def test_the_disks_of_a_request() -> None:
    assert pairs.choose_disks({**REQUEST, "mirror": []}, DISKS) == (EMPTY,)
    assert pairs.choose_disks(REQUEST, DISKS) == (EMPTY, OTHER)
    assert pairs.choose_disks({**REQUEST, "mirror": ["only"]}, [EMPTY, THIRD]) == (EMPTY, THIRD)


@pytest.mark.parametrize(
    ("mirror", "changed", "text"),
    [
        ("vda", {}, "is named twice"),
        ("vdx", {}, "no disk is vdx"),
        ("only", {}, "not only one disk"),
        ("vdb", {"sector_bytes": 4096}, r"virtio-other\) of 4096"),
        ("vdb", {"size_bytes": SIZE - 8 * MIB}, "too small to mirror /dev/vda: 504 MiB, not 512"),
        ("vdb", {"busy": "mounted"}, "in use"),
        ("vdb", {"content": Content.FOREIGN, "found": ("ext4",)}, "there is ext4 on it"),
        ("vdb", {"content": Content.INSTALLED, "guid": "ab"}, "not empty"),
    ],
)
def test_what_is_refused(mirror: str, changed: dict[str, Any], text: str) -> None:
    disks = [EMPTY, replace(OTHER, **changed), THIRD]
    with pytest.raises(OrlopError, match=text):
        pairs.choose_disks({**REQUEST, "mirror": [mirror]}, disks)


def test_the_larger_one_and_what_was_interrupted_are_taken() -> None:
    larger = replace(OTHER, size_bytes=2 * SIZE)
    assert pairs.choose_disks(REQUEST, [EMPTY, larger])[1] is larger
    begun = replace(EMPTY, content=Content.UNFINISHED, waits_for="ab")
    whole = replace(OTHER, content=Content.INSTALLED, guid="ab", found=("an installation",))
    assert pairs.choose_disks(REQUEST, [begun, whole]) == (begun, whole)
    with pytest.raises(OrlopError, match="not empty"):
        pairs.choose_disks(REQUEST, [begun, replace(whole, guid="cd")])


def test_the_machine_that_the_second_starts_knows_the_first_by_its_mark() -> None:
    begun = replace(EMPTY, content=Content.UNFINISHED, waits_for="ab")
    whole = replace(OTHER, content=Content.INSTALLED, guid="ab", busy="mounted")

    def found(*disks: Disk) -> str:
        shown: list[Json] = [install_disks.to_json(disk) for disk in disks]
        return unfinished_half.find(shown, ("/dev/vdb3",))

    assert found(begun, whole, THIRD) == "vda"
    assert found(begun, replace(whole, device="/dev/vdc"), THIRD) == "", "another mirror"
    assert found(replace(begun, waits_for="cd"), whole) == ""
    assert found(replace(begun, content=Content.FOREIGN), whole) == ""
    assert found(EMPTY, replace(whole, guid="")) == ""


def test_half_of_a_mirror_is_not_kept_by_an_installation() -> None:
    half = replace(OWN, has_state=False)
    found = install_disks.refusal(half, wipe=False, keep_state=True)
    assert "half of a mirror" in str(found)


def test_both_are_divided_alike_and_the_second_is_whole_first() -> None:
    sizes = SIZE + 5 * MIB, SIZE
    steps = plan.plan_mirrored(sizes, 512, LOADER, GUIDS_OF, encrypted=True)
    kinds = [(number, type(step)) for number, step in steps]
    pair = [(0, Put), (1, Put)]
    boot = [(0, BootPartition), (1, BootPartition)]
    assert kinds == [*pair, *pair, *boot, (0, NewState), (1, Put), (0, Put)]
    state = disk_layout.plan_disk(SIZE).state
    assert steps[6][1] == NewState(state.start_bytes, state.size_bytes, True, True)
    assert "on both disks" in plan.describe(steps[6][1])
    marks = []
    for number in (0, 1):
        own = [step for which, step in steps if which == number and isinstance(step, Put)]
        marks.append(own[0].writes[0].data)
        assert own[-1].writes[-1].offset_bytes == 0
        last = max(w.offset_bytes + len(w.data) for w in own[-1].writes)
        assert last == sizes[number], "the copy of the table is at the end of its own disk"
    head = steps[-2][1]
    assert isinstance(head, Put)
    guid = head.writes[-2].data[56:72]
    assert [mark.strip(b"\0") for mark in marks] == [MARK + guid, MARK]


def test_what_a_disk_waits_for_is_read_from_it(tmp_path: Path) -> None:
    """And the number of a table that is there."""
    steps = plan.plan_mirrored((SIZE, SIZE), 512, LOADER, GUIDS_OF)
    found = []
    for number in (0, 1):
        path = tmp_path / str(number)
        with path.open("wb") as disk:
            for which, step in steps[:-1]:
                if which == number and isinstance(step, Put):
                    for write in step.writes:
                        disk.seek(write.offset_bytes)
                        disk.write(write.data)
        found.append(install_disks._guids(str(path), 512))
    (nothing, waits_for), (guid, none) = found
    assert (nothing, none) == ("", "")
    assert waits_for == guid != ""
    assert install_disks._guids(str(tmp_path / "gone"), 512) == ("", "")


def test_a_new_half_is_divided_as_the_one_that_is_there() -> None:
    parts = disk_layout.plan_disk(SIZE).partitions
    code = b"C" * 440, b"K" * MIB
    steps = plan.plan_half(parts, SIZE + 3 * MIB, 512, code, GUIDS)
    assert [type(step) for step in steps] == [Put, Put, BootPartition, NewState, Put]
    loader, table = steps[1], steps[-1]
    assert isinstance(loader, Put)
    assert isinstance(table, Put)
    assert loader.writes == (partition_table.Write(parts[0].start_bytes, code[1]),)
    assert table.writes[-1].data.startswith(code[0])
    with pytest.raises(OrlopError, match="do not fit"):
        plan.plan_half(parts, SIZE - 2 * MIB, 512, code, GUIDS)


def test_a_half_that_was_used_alone_is_given_up_by_a_person_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, disk = tmp_path / "vda3", replace(OTHER, device=f"{tmp_path}/vdb")
    there = tmp_path / "vdb3"
    found = mirror.Mirror("/dev/md127", 2, 1, ((str(here), "in_sync"),))
    whole = replace(disk, content=Content.INSTALLED)
    done: list[tuple[str, bool]] = []
    monkeypatch.setattr(array, "add", lambda _, part, anew=False: done.append((part, anew)))
    monkeypatch.setattr(mirror, "candidates", lambda _: [])
    for one, other in ((alone(ONE), alone(HALF)), (ONE, HALF)):
        here.write_bytes(bytes(4096) + superblock(one))
        there.write_bytes(bytes(4096) + superblock(other))
        assert not repair._take_back(disk, found, wipe=True), "it is empty"
        assert not repair._take_back(replace(whole, busy="mounted"), found, wipe=True)
        if one is ONE:
            assert not repair._take_back(whole, found, wipe=True), "it is of another mirror"
            continue
        with pytest.raises(OrlopError, match=r"without the other half, last on 2026-09-21 14:21"):
            repair._take_back(whole, found, wipe=False)
        assert done == []
        assert repair._take_back(whole, found, wipe=True)
    assert done == [(str(there), True)]
    monkeypatch.setattr(mirror, "members", lambda _: [str(here), str(there)])
    assert repair._take_back(whole, found, wipe=False)
    assert done[1:] == [(str(there), False)]


class Written:
    """A disk that is a file, which notes what the kernel is told of it."""

    sector_bytes = 512

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parts: list[tuple[int, int, int]] = []

    def write(self, offset: int, data: bytes) -> None:
        with self.path.open("r+b") as disk:
            disk.seek(offset)
            disk.write(data)

    def commit(self) -> None:
        pass

    def add_partition(self, number: int, start: int, size: int) -> str:
        self.parts.append((number, start, size))
        return f"/dev/vdb{number}"


def test_a_new_half_has_nothing_of_an_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the kernel would fill only what has changed since that was written."""
    parts = disk_layout.plan_disk(SIZE).partitions
    *_, state, _ = plan.plan_half(parts, SIZE, 512, (b"C" * 440, b"K"), GUIDS)
    start = parts[-1].start_bytes
    path = tmp_path / "disk"
    with path.open("wb") as disk:
        disk.seek(start)
        disk.write(b"S" * HEAD_BYTES)
    target = Written(path)
    found: list[tuple[str, str, bytes]] = []

    def add(device: str, part: str) -> None:
        found.append((device, part, path.read_bytes()[start:].strip(b"\0")))

    monkeypatch.setattr(array, "add", add)
    repair._do(state, cast("Target", target), parts, {}, "/dev/md127")
    assert found == [("/dev/md127", "/dev/vdb3", b"")]
    assert target.parts == [(n, p.start_bytes, p.size_bytes) for n, p in enumerate(parts, 1)]
