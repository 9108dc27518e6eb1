"""The message file: rotation, caps, full disks, torn lines."""

import errno
import os
from pathlib import Path

import pytest

from orlop.services.syslog.store import SYNC_S, Store


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_rotation_keeps_so_many_files_of_such_a_size(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "messages"), max_file_bytes=100, max_files=3)
    for number in range(40):
        assert store.append([b"%09d" % number], 0.0)
    store.close()
    found = files(tmp_path)
    assert list(found) == ["messages", "messages.1", "messages.2"]
    assert all(len(content) <= 100 for content in found.values())
    newest_first = b"".join(found[name] for name in ("messages.2", "messages.1", "messages"))
    assert newest_first.split() == [b"%09d" % number for number in range(10, 40)]


def test_one_file_only(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "messages"), max_file_bytes=20, max_files=1)
    for number in range(5):
        store.append([b"%09d" % number], 0.0)
    store.close()
    assert files(tmp_path) == {"messages": b"000000004\n"}


def test_a_line_larger_than_the_file_is_written(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "messages"), max_file_bytes=10, max_files=2)
    assert store.append([b"x" * 50], 0.0)
    assert store.append([b"y"], 0.0)
    assert files(tmp_path) == {"messages": b"y\n", "messages.1": b"x" * 50 + b"\n"}
    store.close()


def test_a_torn_line_is_ended(tmp_path: Path) -> None:
    (tmp_path / "messages").write_bytes(b"whole\ntor")
    store = Store(str(tmp_path / "messages"))
    store.append([b"next"], 0.0)
    store.close()
    assert files(tmp_path)["messages"] == b"whole\ntor\nnext\n"


class FullDisk:
    """Stands in for `os.write`: takes *room* bytes, then none."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.write = os.write

    def __call__(self, descriptor: int, data: bytes) -> int:
        if self.room == 0:
            raise OSError(errno.ENOSPC, "full")
        size = self.write(descriptor, data[: self.room])
        self.room -= size
        return size


def test_full_disk_drops_whole_batches_and_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path / "messages"))
    store.append([b"before"], 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", FullDisk(3))
        assert not store.append([b"lost one", b"lost two"], 0.0)
    assert store.dropped == 2
    assert store.append([b"after"], 0.0)
    store.close()
    assert files(tmp_path)["messages"] == b"before\nafter\n"


def test_full_disk_gives_up_the_oldest_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "messages.1").write_bytes(b"old\n")
    (tmp_path / "messages.2").write_bytes(b"older\n")
    store = Store(str(tmp_path / "messages"), max_files=3)
    disk = FullDisk(0)
    unlink = os.unlink

    def free(path: str) -> None:
        unlink(path)
        disk.room = 1000

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", disk)
        patch.setattr(os, "unlink", free)
        assert store.append([b"kept"], 0.0)
    store.close()
    assert files(tmp_path) == {"messages": b"kept\n", "messages.1": b"old\n"}


def test_other_errors_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(tmp_path / "messages"))

    def fail(descriptor: int, data: bytes) -> int:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        with pytest.raises(OSError, match="broken"):
            store.append([b"x"], 0.0)
    store.close()


def test_sync_is_due_after_a_while_and_once(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "messages"))
    assert store.sync_in_s(0.0) is None
    store.append([b"x"], 10.0)
    store.append([b"y"], 12.0)
    assert store.sync_in_s(12.0) == SYNC_S - 2
    assert store.sync_in_s(99.0) == 0.0
    store.sync()
    assert store.sync_in_s(99.0) is None
    store.close()
