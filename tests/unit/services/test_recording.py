"""Recorded sessions: whose files have to go, and that none grows without an end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orlop.services.elevate import recording
from orlop.services.session.main import Recording

SOURCE = Path(__file__).parents[3] / "src"


def test_each_user_has_room_of_the_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MAX_USER_BYTES", 100)
    monkeypatch.setattr(recording, "MAX_FILE_BYTES", 40)
    for number in range(4):
        (tmp_path / f"2026{number}.alice.cast").write_bytes(b"x" * 30)
        (tmp_path / f"2026{number}.bob.cast").write_bytes(b"x" * 10)
    (tmp_path / "notes").write_text("mine")
    recording.make_room(tmp_path, "alice")
    left = sorted(path.name for path in tmp_path.glob("*alice*"))
    assert left == ["20262.alice.cast", "20263.alice.cast"]
    assert len([*tmp_path.iterdir()]) == 2 + 4 + 1
    monkeypatch.setattr(recording, "MAX_USER_FILES", 2)
    recording.make_room(tmp_path, "bob")
    assert [path.name for path in tmp_path.glob("*bob*")] == ["20263.bob.cast"]


PROGRAM = """\
import os, sys
from pathlib import Path
from orlop.services.elevate import recording
recording.DIRECTORY = Path(sys.argv[1])
recording.MAX_FILE_BYTES = 5000
path, pipe = recording.begin("alice", "alice from here", (100, 30), "xterm")
try:
    for number in range(100000):
        os.write(pipe, b"x" * 1000)
except BrokenPipeError:
    print(path)
"""


def test_a_file_ends_at_its_limit(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "sessions")]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    path = Path(done.stdout.strip())
    head = json.loads(path.read_bytes().partition(b"\n")[0])
    assert (head["width"], head["height"], head["title"]) == (100, 30, "alice from here")
    assert path.stat().st_size == 5000
    assert path.stat().st_mode & 0o777 == 0o600


def test_another_size_comes_with_the_next_output() -> None:
    reading, writing = os.pipe()
    events = Recording(writing)
    events.output(b"a")
    # From the handler of a signal, maybe in the midst of an event: it must not be torn.
    events.resize(90, 20)
    os.set_blocking(reading, False)
    assert b"90x20" not in os.read(reading, 4096)
    events.output(b"b")
    os.close(writing)
    with os.fdopen(reading) as stream:
        found = [json.loads(line)[1:] for line in stream]
    assert found == [["r", "90x20"], ["o", "b"]]


def test_a_character_in_two_pieces() -> None:
    reading, writing = os.pipe()
    events = Recording(writing)
    for piece in (b"a\xc3", b"\xb6\xff", b"\x1b[0m"):
        events.output(piece)
    os.close(writing)
    with os.fdopen(reading) as stream:
        found = [json.loads(line)[1:] for line in stream]
    assert found == [["o", "a"], ["o", "ö\ufffd"], ["o", "\x1b[0m"]]


def test_a_pipe_that_breaks_ends_the_recording_alone() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    events = Recording(writing)
    events.output(b"a")
    events.output(b"b")
    with pytest.raises(OSError):
        os.fstat(writing)
