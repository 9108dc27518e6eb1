"""Which disks are refused. The rest needs block devices: tests/engine/test_formatting_native.py."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from orlop.lib import partition_table
from orlop.lib.children import Children
from orlop.lib.errors import Conflict
from orlop.system.storage import formatting
from tests.unit.system.disk_file import make_disk, put

if TYPE_CHECKING:
    from pathlib import Path

SIZE = formatting.MIN_BYTES


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return make_disk(tmp_path / "disk", SIZE)


def refuse_unless_empty(path: Path) -> None:
    formatting.refuse_unless_empty("disk", str(path), sys_block=str(path.parent / "sys"))


def test_unfinished_work_of_ours_is_no_content(disk: Path) -> None:
    put(disk, partition_table.MARK_AT, formatting.MARK)
    refuse_unless_empty(disk)
    *copies, first = partition_table.make_gpt("X", SIZE, 512, bytes(range(32))).writes
    for write in copies:
        put(disk, write.offset_bytes, write.data)
        refuse_unless_empty(disk)
    put(disk, first.offset_bytes, first.data)
    with pytest.raises(Conflict, match="partition table"):
        refuse_unless_empty(disk)


@pytest.mark.parametrize(
    ("offset", "data", "what"),
    [(510, b"\x55\xaa", "partition table"), (4096, b"\xfc\x4e\x2b\xa9", "member of a RAID")],
    ids=["MBR", "RAID"],
)
def test_what_others_put_beside_our_mark_is_theirs(
    disk: Path, offset: int, data: bytes, what: str
) -> None:
    put(disk, partition_table.MARK_AT, formatting.MARK)
    put(disk, offset, data)
    with pytest.raises(Conflict, match=what):
        refuse_unless_empty(disk)


@pytest.mark.parametrize(
    ("wanted", "label"),
    [
        ("LABEL=ORLOP_STATE", "ORLOP_STATE"),
        ("LABEL=RANCHER_STATE", "RANCHER_STATE"),
        ("LABEL=longer-than-16-bytes", None),
        ("SERIAL=one", "ORLOP_STATE"),
        ("SERIAL=other", None),
        ("/dev/disk/by-id/virtio-one", "ORLOP_STATE"),
        ("/dev/disk/by-id/virtio-one-part1", "ORLOP_STATE"),
        ("/dev/vda1", "ORLOP_STATE"),
        ("/dev/vda2", None),
        ("PARTLABEL=ORLOP_STATE", "ORLOP_STATE"),
        ("UUID=0", None),
    ],
)
def test_what_is_made_is_found_again(tmp_path: Path, wanted: str, label: str | None) -> None:
    (tmp_path / "vda").mkdir()
    (tmp_path / "vda/serial").write_text("one")
    if label is not None:
        assert formatting.label_for(wanted, "vda", "ext4", str(tmp_path)) == label
        return
    with pytest.raises(Conflict, match=f"is not {wanted}"):
        formatting.label_for(wanted, "vda", "ext4", str(tmp_path))


def test_the_loop_does_not_wait_for_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not answer holds its thread, and is said."""
    answers = threading.Event()
    monkeypatch.setattr(formatting, "PROBE_TIMEOUT_S", 0.01)
    monkeypatch.setattr(formatting, "find_disk", lambda reference: answers.wait() and None)

    async def ask() -> tuple[str | None, list[str]]:
        own = Children()
        try:
            return await formatting.format_first(["SERIAL=x"], "ext4", own, "LABEL=x")
        finally:
            own.close()

    found, refused = asyncio.run(ask())
    answers.set()
    assert (found, refused) == (
        None,
        ["orlop.state.autoformat=SERIAL=x: the disks do not answer"],
    )
