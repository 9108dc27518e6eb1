"""The swap file: its header, and that nothing is done twice."""

import os
from pathlib import Path

import pytest

from orlop.lib import linux
from orlop.lib.errors import Conflict
from orlop.system.storage import swap
from orlop.system.storage.state import State

PAGE = os.sysconf("SC_PAGE_SIZE")


def test_the_file_is_one_for_the_kernel(tmp_path: Path) -> None:
    path = tmp_path / "swap"
    (tmp_path / "swap.new").write_text("left by a crash")
    swap.make(str(path), 64 * PAGE, PAGE)
    data = path.read_bytes()
    assert len(data) == 64 * PAGE
    assert data[PAGE - 10 : PAGE] == b"SWAPSPACE2"
    assert int.from_bytes(data[1024:1028], "little") == 1
    assert int.from_bytes(data[1028:1032], "little") == 63
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["swap"]


def test_what_is_done_about_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, table = str(tmp_path / "swap"), tmp_path / "swaps"
    table.write_text("Filename\tType\n")
    calls: list[str] = []
    monkeypatch.setattr(linux, "swapon", lambda _: calls.append("on"))
    monkeypatch.setattr(linux, "swapoff", lambda _: calls.append("off"))
    swap.apply(1 << 20, path, str(table))
    assert calls == ["on"]
    table.write_text(f"Filename\tType\n{path}     file\t1024\n")
    swap.apply((1 << 20) + 5, path, str(table))
    assert calls == ["on"]
    swap.apply(2 << 20, path, str(table))
    assert calls == ["on", "off", "on"]
    assert os.path.getsize(path) == 2 << 20
    swap.apply(0, path, str(table))
    assert calls == ["on", "off", "on", "off"]
    assert not os.path.exists(path)


def test_where_it_cannot_be() -> None:
    swap.refuse_without_disk(State("disk", fstype="ext4"))
    for state in (None, State("memory", fstype="ext4"), State("disk", fstype="btrfs")):
        with pytest.raises(Conflict):
            swap.refuse_without_disk(state)
