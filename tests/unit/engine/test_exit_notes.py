"""Questions and answers about processes that have another parent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orlop.engine.container import exit_notes
from orlop.lib.children import ExitStatus

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    (tmp_path / exit_notes.DIRECTORY).mkdir()
    return tmp_path


def names(run_dir: Path) -> list[str]:
    return sorted(path.name for path in (run_dir / exit_notes.DIRECTORY).iterdir())


@pytest.mark.parametrize("status", [ExitStatus(0), ExitStatus(255), ExitStatus(137, 9)])
def test_answer_is_read_until_it_is_forgotten(run_dir: Path, status: ExitStatus) -> None:
    exit_notes.ask(run_dir, 12, 3456)
    assert exit_notes.read(run_dir, 12, 3456) is None
    exit_notes.answer(run_dir, 12, 3456, status)
    exit_notes.ask(run_dir, 12, 3456)  # the next engine asks again
    assert exit_notes.read(run_dir, 12, 3456) == status
    exit_notes.forget(run_dir, 12, 3456)
    assert exit_notes.read(run_dir, 12, 3456) is None
    assert names(run_dir) == []


def test_another_process_of_the_same_number_is_no_answer(run_dir: Path) -> None:
    exit_notes.ask(run_dir, 12, 3456)
    exit_notes.answer(run_dir, 12, 9999, ExitStatus(1))
    assert exit_notes.read(run_dir, 12, 3456) is None
    assert names(run_dir) == ["12-3456"]


def test_nobody_to_ask(tmp_path: Path) -> None:
    exit_notes.ask(tmp_path, 12, 3456)
    exit_notes.answer(tmp_path, 12, 3456, ExitStatus(1))
    exit_notes.forget_others(tmp_path, ())
    assert list(tmp_path.iterdir()) == []


def test_no_question_is_left_that_nobody_asks_any_more(run_dir: Path) -> None:
    for pid in (1, 2, 3):
        exit_notes.ask(run_dir, pid, 10)
    exit_notes.forget_others(run_dir, {(2, 10), (3, 11)})
    assert names(run_dir) == ["2-10"]


@pytest.mark.parametrize("text", [b"", b"\n", b"1\n", b"one two\n", b"1 2 3\n", b"-1 0\n"])
def test_what_is_no_status_is_none(run_dir: Path, text: bytes) -> None:
    (run_dir / exit_notes.DIRECTORY / "12-3456").write_bytes(text)
    assert exit_notes.read(run_dir, 12, 3456) is None
