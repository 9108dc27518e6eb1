"""Disks to swap to: which are meant, and that only swap areas are used."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orlop.lib import linux
from orlop.system.storage import swap, swap_devices
from orlop.system.storage.block_devices import Volume
from orlop.system.storage.superblock import HEAD_BYTES, Superblock, identify

if TYPE_CHECKING:
    from orlop.wire.compose_model import Json


def test_both_keys_count() -> None:
    mounts: Json = [
        ["LABEL=a", "swap", "swap", "defaults"],
        ["/dev/sdb", "swap", "swap", "noauto"],
        ["/dev/sdc", "/mnt/c", "ext4", "defaults"],
    ]
    assert swap_devices.wanted(["/dev/sda2", "LABEL=a"], mounts) == ["/dev/sda2", "LABEL=a"]
    assert swap_devices.wanted(None, mounts) == ["LABEL=a"]
    assert swap_devices.wanted(None, None) == []


def test_what_is_no_swap_area_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "disk"
    there.touch()
    used: set[str] = set()
    area = Volume("/dev/vdz", Superblock("swap", "fast", "u"))

    async def areas() -> list[Volume]:
        return [area]

    monkeypatch.setattr(swap_devices, "_areas", areas)
    monkeypatch.setattr(swap, "is_in_use", lambda path: path in used)
    monkeypatch.setattr(linux, "swapon", used.add)
    monkeypatch.setattr(linux, "swapoff", used.remove)
    record = str(tmp_path / "record")

    def apply(*devices: str) -> dict[str, str]:
        return asyncio.run(swap_devices.apply(devices, wait_s=0.0, record=record))

    assert apply("LABEL=fast", str(there), "UUID=gone") == {
        str(there): "is no swap area",
        "UUID=gone": "is not there",
    }
    assert used == {"/dev/vdz"}
    assert apply("LABEL=fast") == {}
    assert apply() == {}
    assert used == set()


def test_a_swap_area_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "area"
    path.write_bytes(bytes(1 << 20))
    with path.open("r+b") as file:
        swap.write_header(file.fileno(), 1 << 20, 4096)
    found = identify(path.read_bytes()[:HEAD_BYTES])
    assert found is not None
    assert found.fstype == "swap"
    assert len(found.uuid) == 36
