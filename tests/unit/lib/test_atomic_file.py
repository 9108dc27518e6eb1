"""Files replaced atomically."""

import os
from pathlib import Path

import pytest

from orlop.lib import atomic_file


def test_content_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic_file.write_text(path, "one", mode=0o600)
    atomic_file.write_text(path, "two", mode=0o640)

    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o7777 == 0o640
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def refuse(_source: str, _target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(OSError, match="No space"):
        atomic_file.write_bytes(path, b"new")

    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_what_a_crash_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / f"{atomic_file.TEMPORARY_PREFIX}0123").write_text("half")
    (tmp_path / "whole").write_text("whole")

    atomic_file.remove_temporaries(tmp_path)

    assert [entry.name for entry in tmp_path.iterdir()] == ["whole"]


def test_nothing_has_a_name_before_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    real_sync, real_rename = os.fsync, os.rename

    def sync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        done.append("sync directory" if path == tmp_path else "sync file")
        real_sync(descriptor)

    def rename(source: Path, target: Path) -> None:
        done.append("rename")
        real_rename(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "rename", rename)
    atomic_file.write_text(tmp_path / "file", "one")
    assert done == ["sync file", "rename", "sync directory"]
