"""Compressed swap: with a /sys made of files, and a file for the device."""

from pathlib import Path

import pytest

from orlop.lib import linux
from orlop.system.storage import zram

PAGE = 4096


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    monkeypatch.setattr(linux, "swapon", lambda path, priority=None: found.append(("on", priority)))
    monkeypatch.setattr(linux, "swapoff", lambda path: found.append(("off",)))
    return found


def test_sizes() -> None:
    assert zram.size_bytes("50%", 1 << 30) == 512 << 20
    assert zram.size_bytes(PAGE * 300 + 7, 1 << 30) == PAGE * 300
    assert zram.size_bytes(None, 1 << 30) == 0


def test_a_device_becomes_swap_once(tmp_path: Path, calls: list[tuple[object, ...]]) -> None:
    sys, device, table = tmp_path / "sys", tmp_path / "zram0", tmp_path / "swaps"
    sys.mkdir()
    (sys / "disksize").write_text("0\n")
    device.write_bytes(bytes(PAGE * 300))
    table.write_text("Filename Type Size Used Priority\n")
    names = (str(device), str(sys), str(table))
    zram.apply(0, *names)
    assert calls == []
    zram.apply(PAGE * 300, *names)
    assert calls == [("on", zram.PRIORITY)]
    assert (sys / "disksize").read_text().startswith(str(PAGE * 300))
    assert device.read_bytes()[PAGE - 10 : PAGE] == b"SWAPSPACE2"
    table.write_text(f"Filename Type Size Used Priority\n{device} partition 1 0 100\n")
    (sys / "disksize").write_text(f"{PAGE * 300}\n")
    zram.apply(PAGE * 300, *names)
    assert len(calls) == 1


def test_it_is_given_back(tmp_path: Path, calls: list[tuple[object, ...]]) -> None:
    (tmp_path / "disksize").write_text(f"{PAGE * 300}\n")
    (tmp_path / "reset").touch()
    table = tmp_path / "swaps"
    table.write_text("/dev/zram0 partition 1 0 100\n")
    zram.apply(0, "/dev/zram0", str(tmp_path), str(table))
    assert calls == [("off",)]
    assert (tmp_path / "reset").read_text() == "1"
