"""`orlop disks seal`: the request, and what is said about the answer."""

import base64
import io
import json
from pathlib import Path

import pytest

from orlop.cli.main import main
from tests.unit.cli.fake_engine import FakeEngine

TARGET = "POST /orlop/disks/seal"


def sent(engine: FakeEngine) -> dict[str, object]:
    found: dict[str, object] = json.loads(engine.requests[-1][1])
    return found


def test_a_key_file_seals_the_state(
    engine: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_bytes(b"\0key\n")
    engine.answer(TARGET, {"device": "/dev/sda2", "slot": "1", "pcrs": [7, 11]})
    assert main(["disks", "seal", "--key-file", str(tmp_path / "key"), "--pcrs", "7,11"]) == 0
    assert sent(engine) == {"key": base64.b64encode(b"\0key\n").decode(), "pcrs": [7, 11]}
    assert "opens /dev/sda2 from the next boot on, while PCR 7, 11" in capsys.readouterr().out


def test_a_passphrase_comes_from_the_input(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.isatty", lambda _: False)
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse\n"))
    engine.answer(TARGET, {"device": "/dev/sdb", "slot": "1", "pcrs": [7]})
    assert main(["disks", "seal", "/dev/sdb", "--json"]) == 0
    key = base64.b64encode(b"correct horse").decode()
    assert sent(engine) == {"device": "/dev/sdb", "key": key}


def test_the_tpms_key_is_removed(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.answer(TARGET, {"device": "/dev/sdb", "removed": ["0"]})
    assert main(["disks", "seal", "--remove"]) == 0
    assert sent(engine) == {"remove": True}
    assert capsys.readouterr().out == "the TPM does not open /dev/sdb any more\n"


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["open"], 2),
        (["seal", "--pcrs", "seven", "--key-file", "/dev/null"], 2),
        (["seal", "--key-file", "/none/key"], 1),
        (["seal", "--key-file", "/dev/null"], 1),
    ],
)
def test_others_are_refused(engine: FakeEngine, words: list[str], status: int) -> None:
    assert main(["disks", *words]) == status
    assert engine.requests == []
