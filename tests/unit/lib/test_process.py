"""Commands that are run and waited for."""

from pathlib import Path

import pytest

from orlop.lib.errors import OrlopError
from orlop.lib.process import CommandError, pasteable, run


def test_output_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "vi")

    assert run(["sh", "-c", 'echo "$LANG $EDITOR $WORD"'], env={"WORD": "w"}) == "C.UTF-8  w\n"


def test_failure_carries_what_to_paste(tmp_path: Path) -> None:
    with pytest.raises(CommandError) as caught:
        run(["sh", "-c", "echo wrong >&2; exit 4"], cwd=tmp_path)

    assert caught.value.status == 4
    assert "wrong" in str(caught.value)
    assert caught.value.hint == f"cd {tmp_path} && sh -c 'echo wrong >&2; exit 4'"


def test_input_is_empty_unless_given() -> None:
    assert run(["cat"]) == ""
    assert run(["cat"], stdin=b"given") == "given"


def test_time_limit() -> None:
    with pytest.raises(OrlopError, match="longer than"):
        run(["sleep", "10"], timeout_s=0.05)


def test_missing_program() -> None:
    with pytest.raises(OrlopError, match="cannot start no-such-program"):
        run(["no-such-program"])


def test_pasteable_quotes() -> None:
    assert pasteable(["a b", "c"], Path("/d e")) == "cd '/d e' && 'a b' c"
