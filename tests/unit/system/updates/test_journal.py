"""The journal: what it keeps, what a torn line costs, what is undone, one change at a time."""

import errno
import os
from pathlib import Path

import pytest

from orlop.lib.errors import Conflict, Internal
from orlop.system.updates import journal
from orlop.system.updates.journal import Journal, Status, Task


def boom() -> None:
    raise Internal("it broke")


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "os"
    found = Journal(directory)
    assert found.changes == {}
    assert found.unfinished() is None
    assert not directory.exists()
    assert not (directory / "pending").exists()


def test_a_change_is_there_for_the_next_boot(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    change = first.begin("stage", ["image", "generation"], {"generation": 2})
    first.set_task(change.number, "image", Status.DOING)
    first.note(change.number, {"sequence": 12})
    assert (tmp_path / "pending").exists()
    found = Journal(tmp_path).unfinished()
    assert found == first.changes[change.number]
    assert found is not None
    assert found.tasks == {"image": "Doing", "generation": "Do"}
    assert found.data == {"generation": 2, "sequence": 12}
    first.end(change.number, Status.DONE)
    assert not (tmp_path / "pending").exists()
    assert Journal(tmp_path).changes == first.changes
    assert Journal(tmp_path).unfinished() is None


def test_one_at_a_time(tmp_path: Path) -> None:
    found = Journal(tmp_path)
    found.begin("apply", ["arm"], {})
    with pytest.raises(Conflict, match=r"busy: change 1 \(apply\)"):
        found.begin("gc", ["images"], {})


def test_what_fails_is_undone_in_reverse(tmp_path: Path) -> None:
    said: list[str] = []
    tasks = (
        Task("a", lambda: said.append("a"), lambda: said.append("undo a")),
        Task("b", boom, lambda: said.append("undo b")),
        Task("c", lambda: said.append("c"), lambda: said.append("undo c")),
    )
    found = Journal(tmp_path)
    with pytest.raises(Internal, match="it broke"):
        found.run("test", tasks, {})
    assert said == ["a", "undo b", "undo a"]
    change = Journal(tmp_path).changes[1]
    assert (change.status, change.error) == (Status.UNDONE, "it broke")
    assert change.tasks == {"a": "Undone", "b": "Undone", "c": "Do"}


def test_what_cannot_be_undone_is_an_error(tmp_path: Path) -> None:
    found = Journal(tmp_path)
    with pytest.raises(Internal):
        found.run("test", (Task("a", lambda: None, boom), Task("b", boom)), {})
    change = Journal(tmp_path).changes[1]
    assert change.status is Status.ERROR
    assert change.error == "it broke; cannot undo a: it broke"
    found.run("next", (), {})


def test_what_a_full_disk_does_not_let_undo_is_undone_later(tmp_path: Path) -> None:
    said: list[str] = []
    tasks = (
        Task("a", lambda: said.append("a"), lambda: said.append("undo a")),
        Task("b", lambda: said.append("b"), full),
        Task("c", boom),
    )
    found = Journal(tmp_path)
    with pytest.raises(OSError, match="No space left"):
        found.run("test", tasks, {})
    assert said == ["a", "b", "undo a"]
    change = Journal(tmp_path).unfinished()
    assert change is not None
    assert change.tasks == {"a": "Undone", "b": "Undoing", "c": "Undone"}
    with pytest.raises(Conflict, match="busy"):
        found.run("next", (), {})
    found.take_back(change.number, (Task("b", full, lambda: said.append("undo b")),), "full")
    assert said[-1] == "undo b"
    assert Journal(tmp_path).changes[1].status is Status.UNDONE
    found.run("next", (), {})


@pytest.mark.parametrize("damage", [b"", b"\0" * 20, b"00000000 {}\n", b"garbage\n"])
def test_a_torn_tail_is_no_line(tmp_path: Path, damage: bytes) -> None:
    first = Journal(tmp_path)
    first.run("one", (), {})
    path = tmp_path / "journal"
    whole = path.read_bytes()
    first.run("two", (), {})
    path.write_bytes(whole + path.read_bytes()[len(whole) :][:40] + damage)
    second = Journal(tmp_path)
    assert [change.verb for change in second.changes.values()] == ["one"]
    second.run("three", (), {})
    assert [change.verb for change in Journal(tmp_path).changes.values()] == ["one", "three"]


def test_every_byte_may_be_the_last(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    first.run("one", (Task("a", lambda: None),), {})
    path = tmp_path / "journal"
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        changes = Journal(tmp_path).changes
        assert len(changes) == (size >= whole.index(b"\n") + 1)
        assert path.read_bytes() == whole[: whole.rfind(b"\n", 0, size) + 1]


def test_it_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "COMPACT_BYTES", 2000)
    monkeypatch.setattr(journal, "KEPT", 3)
    found = Journal(tmp_path)
    for number in range(12):
        found.run("verb", (Task("a", lambda: None),), {"n": number})
        assert (tmp_path / "journal").stat().st_size < 3000, "also while it is open"
    assert max(found.changes) == 12
    again = Journal(tmp_path)
    assert again.changes == {number: found.changes[number] for number in again.changes}
    assert list(again.changes)[-3:] == [10, 11, 12]
    assert again.begin("next", (), {}).number == 13
    monkeypatch.setattr(journal, "COMPACT_BYTES", 0)
    monkeypatch.setattr("orlop.lib.atomic_file.write_bytes", lambda *_, **__: full())
    assert Journal(tmp_path).changes, "also on a full disk"


def test_what_came_through_a_trial_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "COMPACT_BYTES", 2000)
    monkeypatch.setattr(journal, "KEPT", 3)
    found = Journal(tmp_path)
    found.run("apply", (), {"image": "x"})
    for _ in range(20):
        found.run("hold", (Task("hold", lambda: None),), {})
    verbs = [change.verb for change in Journal(tmp_path).changes.values()]
    assert verbs[0] == "apply"
    assert len(verbs) < 15


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_damaged_line_does_not_take_the_others_with_it(tmp_path: Path, number: int) -> None:
    first = Journal(tmp_path)
    first.run("one", (), {})
    first.begin("two", ("a",), {})
    first.set_task(2, "a", Status.DOING)
    path = tmp_path / "journal"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number] = lines[number].replace(b":", b";")
    path.write_bytes(b"".join(lines))
    again = Journal(tmp_path)
    found = again.unfinished()
    assert (None if found is None else found.verb) == (None if number == 2 else "two")
    assert path.read_bytes() == b"".join(lines), "what is whole stays"
