"""What the kernel says of the mirror that the state is on."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from orlop.lib.boot_record import BootRecord
from orlop.system.storage import halves, mirror
from orlop.system.storage.block_devices import Volume
from orlop.system.storage.disk_references import Names, matches
from orlop.system.storage.superblock import RAID, identify
from orlop.system.updates import esp, esp_mirror
from orlop.system.updates.esp_mirror import Standing
from tests.unit.system.test_halves import ONE, OTHER, alone, superblock

if TYPE_CHECKING:
    from pathlib import Path

NUMBER = bytes(range(16))
HALF = (b"\xfc\x4e\x2b\xa9" + bytes(12) + NUMBER + b"ORLOP_STATE").ljust(4096, b"\0")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two disks with a boot partition and a half each, and a third that has half of another."""
    blocks, devices = tmp_path / "class", tmp_path / "dev"
    for folder in (blocks, devices, tmp_path / "raid1"):
        folder.mkdir()
    for disk, number in (("vda", NUMBER), ("vdb", NUMBER), ("vdc", bytes(16))):
        contents = {
            disk: b"",
            f"{disk}2": bytes(71) + b"ORLOP_ESP  FAT32".ljust(441, b" "),
            f"{disk}3": bytes(4096) + HALF[:16] + number + HALF[32:],
        }
        for name, content in contents.items():
            place = tmp_path / "devices" / disk / (name if name != disk else "")
            place.mkdir(parents=True, exist_ok=True)
            (blocks / name).symlink_to(place)
            (devices / name).write_bytes(content)
    array = tmp_path / "devices/md127"
    for part in ("vda3", "vdb3"):
        (array / f"md/dev-{part}").mkdir(parents=True)
        (array / f"md/dev-{part}/state").write_text("in_sync\n")
        (array / "slaves").mkdir(exist_ok=True)
        (array / f"slaves/{part}").touch()
    facts = {
        "level": "raid1",
        "raid_disks": "2",
        "degraded": "0",
        "sync_action": "idle",
        "sync_completed": "none",
    }
    for name, text in facts.items():
        (array / f"md/{name}").write_text(f"{text}\n")
    (blocks / "md127").symlink_to(array)
    (devices / "md127").write_bytes(b"")
    monkeypatch.setattr(mirror, "MODULE", str(tmp_path / "raid1"))
    return tmp_path


def of_state(machine: Path, device: str = "md127") -> mirror.Mirror | None:
    return mirror.of_state(f"{machine}/dev/{device}", f"{machine}/class")


def test_whole_without_a_half_and_being_filled(machine: Path) -> None:
    found = of_state(machine)
    assert found is not None
    assert (found.whole, found.missing, found.problem) == (("/dev/vda3", "/dev/vdb3"), 0, "")
    assert of_state(machine, "vdc3") is None
    array = machine / "devices/md127/md"
    (array / "degraded").write_text("1\n")
    (array / "dev-vdb3/state").write_text("faulty,write_mostly\n")
    found = of_state(machine)
    assert found is not None
    assert found.parts == (("/dev/vda3", "in_sync"), ("/dev/vdb3", "faulty"))
    assert "on /dev/vda3 alone" in found.problem
    assert "missing or broken" in found.problem
    (array / "dev-vdb3/state").write_text("spare\n")
    (array / "sync_action").write_text("recover\n")
    (array / "sync_completed").write_text("250 / 1000\n")
    found = of_state(machine)
    assert found is not None
    assert "until the other half has been filled" in found.problem
    assert mirror.to_json(found)["share"] == 0.25


def test_it_may_be_below_an_encrypted_state(machine: Path) -> None:
    inner = machine / "devices/dm-0"
    (inner / "slaves").mkdir(parents=True)
    (inner / "slaves/md127").touch()
    (machine / "class/dm-0").symlink_to(inner)
    found = of_state(machine, "dm-0")
    assert found is not None
    assert found.device == "/dev/md127"


def test_boot_partitions_also_of_a_half_that_was_away(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one beside half of another machine's mirror."""
    blocks, devices = f"{machine}/class", f"{machine}/dev"
    found = of_state(machine)
    assert found is not None
    parts = (f"{devices}/vda3", f"{devices}/vdb3")
    here = replace(found, parts=tuple((part, "in_sync") for part in parts))
    monkeypatch.setattr(mirror, "of_state", lambda *_: here)
    own = [f"{devices}/vda2", f"{devices}/vdb2"]
    assert esp.find_all("/dev/md127", blocks, devices) == (own, 2)
    here = replace(here, parts=((parts[1], "in_sync"),))
    assert esp.find_all("/dev/md127", blocks, devices) == (own[::-1], 1)
    here = replace(here, parts=())
    assert esp.find_all("/dev/md127", blocks, devices) == ([f"{devices}/vda2"], 1)
    monkeypatch.setattr(mirror, "of_state", lambda *_: None)
    assert esp.find_all(f"{devices}/vdb3", blocks, devices) == ([f"{devices}/vdb2"], 1)


def test_one_that_was_used_alone_is_no_member_and_its_boot_partition_is_its_own(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks, devices = f"{machine}/class", f"{machine}/dev"
    own = [f"{devices}/vda2", f"{devices}/vdb2"]
    parts = (f"{devices}/vda3", f"{devices}/vdb3")
    found = of_state(machine)
    assert found is not None
    here = replace(found, parts=((parts[0], "in_sync"),))
    monkeypatch.setattr(mirror, "of_state", lambda *_: here)
    for one, other, expected in ((ONE, OTHER, own), (alone(ONE), alone(OTHER), own[:1])):
        for part, half in zip(parts, (one, other), strict=True):
            with open(part, "r+b") as stream:
                stream.seek(4096)
                stream.write(superblock(half))
        assert esp.find_all("/dev/md127", blocks, devices) == (expected, 1)
    [(half, first)] = mirror.parted(here, parts)
    assert (half.device, first.device) == (parts[1], parts[0])


def test_a_boot_partition_that_is_destroyed_is_known_by_its_name(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks, devices = f"{machine}/class", f"{machine}/dev"
    for disk in ("vda", "vdb", "vdc"):
        for number, name in ((2, "esp"), (3, "state")):
            part = machine / f"devices/{disk}/{disk}{number}"
            (part / "uevent").write_text(f"DEVTYPE=partition\nPARTNAME=orlop-{name}\n")
    found = of_state(machine)
    assert found is not None
    parts = (f"{devices}/vda3", f"{devices}/vdb3")
    here = replace(found, parts=tuple((part, "in_sync") for part in parts))
    monkeypatch.setattr(mirror, "of_state", lambda *_: here)
    record = BootRecord(1, "a" * 16)
    files = ((f"orlop/images/{record.default}.efi", 9),)
    own = [Standing(f"{devices}/{disk}2", record, 0, files) for disk in ("vda", "vdb")]

    def lost(*standings: Standing) -> list[str]:
        known = {one.device: one for one in standings}
        monkeypatch.setattr(esp_mirror, "look", lambda d: known.get(d, Standing(d)))
        return esp.lost("/dev/md127", blocks, devices)

    assert lost(*own) == []
    assert lost(own[0]) == [own[1].device]
    assert lost(own[0], replace(own[1], files=())) == [own[1].device]
    assert lost() == [], "there is nothing to make it from"
    (machine / "dev/vda2").write_bytes(bytes(512))  # not even a file system
    assert lost(own[1]) == [own[0].device]
    here = replace(here, parts=((parts[0], "faulty"), (parts[1], "in_sync")))
    assert lost(own[1]) == []


def test_one_that_was_left_alone_at_the_start_is_told_of(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halves, "noted", partial(halves.noted, path=str(machine / "note")))
    halves.note(
        [(replace(alone(OTHER), device="/dev/vdb3"), replace(ONE, device="/dev/vda3"))],
        str(machine / "note"),
    )
    (machine / "devices/md127/md/degraded").write_text("1\n")
    found = of_state(machine)
    assert found is not None
    assert "/dev/vdb3 was used without it, last on 2026-09-21 14:21:40 UTC" in found.problem
    assert mirror.to_json(found)["apart"] == [{"device": "/dev/vdb3", "used_s": 1_790_000_500}]


def test_the_name_of_an_array_is_not_that_of_a_file_system() -> None:
    found = identify(bytes(4096) + HALF)
    assert found is not None
    assert (found.fstype, found.label) == (RAID, "ORLOP_STATE")
    assert found.uuid == "00010203-0405-0607-0809-0a0b0c0d0e0f"
    volume = Volume("/dev/vda3", found)
    assert not matches("LABEL", "ORLOP_STATE", volume, Names())
    assert not matches("UUID", found.uuid, volume, Names())
