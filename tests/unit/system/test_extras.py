"""Extras: only those of this build are taken; members of arrays are recognised."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from orlop.lib.errors import Conflict, NotFound
from orlop.system.parameters import parse_parameters
from orlop.system.storage import extras, extras_media, late_disks
from orlop.system.storage.assembly import idle_groups, idle_parts, is_held, with_partitions
from orlop.system.storage.block_devices import Volume
from orlop.system.storage.extras_media import Reader, medium_type
from orlop.system.storage.superblock import LUKS, LVM, RAID, Superblock, identify

if TYPE_CHECKING:
    from orlop.lib.children import Children


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    data = b"extras" * 1000
    (tmp_path / "file").write_bytes(data)
    found = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
    (tmp_path / "record").write_text(json.dumps(found))
    return Reader(str(tmp_path / "record"))


def test_the_file_of_this_build_is_taken(tmp_path: Path, reader: Reader) -> None:
    source, copy = tmp_path / "file", tmp_path / "copy"
    content = source.read_bytes()
    # A disk is larger than what was written to it.
    with source.open("ab") as stream:
        stream.write(bytes(4096))
    reader.verify(str(source), str(copy))
    assert copy.read_bytes() == content
    assert reader.names[0] == f"orlop/extras-{hashlib.sha256(content).hexdigest()[:16]}.erofs"


@pytest.mark.parametrize("data", [b"", b"extras" * 999, b"Extras" + b"extras" * 999])
def test_others_are_not(tmp_path: Path, reader: Reader, data: bytes) -> None:
    (tmp_path / "other").write_bytes(data)
    with pytest.raises(Conflict, match="another build"):
        reader.verify(str(tmp_path / "other"))


def test_a_system_without_extras_takes_none(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="knows of no extras"):
        Reader(str(tmp_path / "none"))


def test_one_of_another_build_does_not_hide_the_right_one(
    tmp_path: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a boot partition where somebody has put the first ones by hand."""
    used: list[str] = []
    monkeypatch.setattr(extras_media, "MEDIUM", str(tmp_path / "medium"))
    monkeypatch.setattr(extras_media, "MEMORY", str(tmp_path / "memory"))
    monkeypatch.setattr(extras_media, "medium_type", lambda _: "vfat")
    monkeypatch.setattr(extras_media, "mount", lambda *_: None)
    monkeypatch.setattr(extras_media, "detach", lambda _: None)
    monkeypatch.setattr(extras_media, "_use", lambda path, _: used.append(path))
    content = (tmp_path / "file").read_bytes()
    own, by_hand, below = (tmp_path / "medium" / name for name in reader.names)
    own.parent.mkdir(parents=True)
    by_hand.write_bytes(b"of the first build")
    with pytest.raises(Conflict, match="another build"):
        extras_media._use_medium("/dev/x", reader)
    for path in (own, below):
        path.write_bytes(content)
        found = extras_media._use_medium("/dev/x", reader)
        assert found == f"/dev/x, /{path.relative_to(tmp_path / 'medium')}"
        path.write_bytes(b"damaged")
    assert used == [f"{tmp_path}/memory/{extras_media.NAME}"] * 2


def test_media_are_known_by_their_labels(tmp_path: Path) -> None:
    head = bytearray(8192)
    head[510:512], head[82:90], head[71:82] = b"\x55\xaa", b"FAT32   ", b"ORLOP_ESP  "
    (tmp_path / "esp").write_bytes(head)
    head[71:82] = b"HOLIDAYS   "
    (tmp_path / "other").write_bytes(head)
    found = [medium_type(str(tmp_path / name)) for name in ("esp", "other", "none")]
    assert found == ["vfat", "", ""]


def test_parts_that_are_in_use_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "sda/holders/md0").mkdir(parents=True)
    (tmp_path / "sdb/holders").mkdir(parents=True)
    kinds = {"sda": RAID, "sdb": RAID, "sdc": LVM, "sdd": "ext4"}
    volumes = [Volume(f"/dev/{name}", Superblock(kind, "", "")) for name, kind in kinds.items()]
    assert idle_parts(volumes, str(tmp_path)) == volumes[1:3]


def test_a_group_of_which_a_volume_is_active_stays_as_it_is() -> None:
    own, other = "ABCDEF-0123-4567-89ab-cdef-0123-ghijkl", "ZBCDEF-0123-4567-89ab-cdef-0123-ghijkl"
    groups = f"  WARNING: a disk of other is missing.\n  {own} group\n  {other} group\n"
    assert idle_groups(groups, f"  {own}\n  {own}\n") == [(other, "group")]
    assert idle_groups(groups, "") == [(own, "group"), (other, "group")]


def test_a_disk_is_held_when_a_partition_is(tmp_path: Path) -> None:
    for name in ("md127", "md127/md127p1", "md127p1", "md126"):
        (tmp_path / name / "holders").mkdir(parents=True)
    (tmp_path / "md127p1/holders/dm-0").mkdir()
    assert with_partitions("md127", str(tmp_path)) == ["md127", "md127p1"]
    assert is_held("md127", str(tmp_path))
    assert not is_held("md126", str(tmp_path))


def test_modules_are_pinned_again_when_the_last_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = tmp_path / "enforce"
    monkeypatch.setattr(extras, "LOADPIN", str(pin))
    with extras.allowed():
        with extras.allowed():
            assert pin.read_text() == "0"
        assert pin.read_text() == "0"
    assert pin.read_text() == "1"


def test_what_comes_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """And its driver is loaded: there is nobody else yet who would."""
    present: list[str] = []

    class Loader:
        async def run(self, argv: tuple[str, ...], *, timeout_s: float) -> None:
            present.append(argv[-1])

    async def look() -> str:
        if not present:
            raise NotFound("no stick")
        return "stick"

    monkeypatch.setattr(late_disks, "PLUG_AGAIN_S", 0.01)
    loader = cast("Children", Loader())
    assert asyncio.run(late_disks.patiently(look, loader, 60)) == "stick"
    present.clear()
    with pytest.raises(NotFound, match="no stick"):
        asyncio.run(late_disks.patiently(look, loader, 0))


def test_parts_of_something_larger() -> None:
    def head(at: int, data: bytes) -> bytes:
        return bytes(at) + data + bytes(8192)

    kinds = {
        RAID: head(4096, b"\xfc\x4e\x2b\xa9"),
        LVM: head(512, b"LABELONE"),
        LUKS: head(0, b"LUKS\xba\xbe\0\2" + bytes(16) + b"ORLOP_STATE"),
    }
    found = {kind: identify(data) for kind, data in kinds.items()}
    assert {kind: block.fstype for kind, block in found.items() if block} == {k: k for k in kinds}
    encrypted = found[LUKS]
    assert encrypted is not None
    assert encrypted.label == "ORLOP_STATE"


def test_where_a_key_is() -> None:
    assert parse_parameters("orlop.state.key=LABEL=KEYS:/a/key").state_key == "LABEL=KEYS:/a/key"
    for wrong in ("key", "LABEL=KEYS", "LABEL=KEYS:/../x", "disk:/x"):
        found = parse_parameters(f"orlop.state.key={wrong}")
        assert found.state_key == ""
        assert len(found.warnings) == 1
