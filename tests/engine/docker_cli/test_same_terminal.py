"""On a terminal: raw mode, size, detaching, signals and progress; the same bytes from both."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import shlex
import signal
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING

import pytest

from tests.engine.docker_cli.pair import COMMANDS, PREFIXES
from tests.engine.docker_cli.test_same_requests import API, OK, Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.engine.docker_cli.pair import Pair
    from tests.engine.store.conftest import StoreEngine

pytestmark = [pytest.mark.root, pytest.mark.engine]

SIDES = list(COMMANDS)
PATIENCE_S = 10.0
DETACH = b"\x10\x11"


class Terminal:
    """A command on a terminal of 100 columns and 30 rows."""

    def __init__(self, pair: Pair, side: str, words: str) -> None:
        self._main, self._side = pty.openpty()
        self.resize(100, 30)
        self.before = termios.tcgetattr(self._side)
        text = words.replace("{me}", PREFIXES[side])
        self.process = subprocess.Popen(
            [*COMMANDS[side], *shlex.split(text)],
            env={**pair.environment(side), "TERM": "xterm"},
            stdin=self._side,
            stdout=self._side,
            stderr=self._side,
            start_new_session=True,
        )
        self.output = b""

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._main, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, data: bytes) -> None:
        os.write(self._main, data)

    def wait_for(self, text: bytes) -> None:
        """Read until *text* has come since the last call."""
        deadline_s = time.monotonic() + PATIENCE_S
        while text not in self.output:
            if time.monotonic() > deadline_s:
                self.process.kill()
                raise AssertionError(f"{text!r} did not come: {self.output!r}")
            self._read()
        self.output = self.output.partition(text)[2]

    def _read(self) -> None:
        if select.select([self._main], [], [], 0.1)[0]:
            with contextlib.suppress(OSError):
                self.output += os.read(self._main, 65536)

    def end(self) -> int:
        """Its exit status, when all that it wrote is read and the terminal is as it was."""
        deadline_s = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            if time.monotonic() > deadline_s:
                self.process.kill()
            self._read()
        self._read()
        assert termios.tcgetattr(self._side) == self.before
        os.close(self._main)
        os.close(self._side)
        return self.process.returncode


@pytest.mark.parametrize("side", SIDES)
def test_a_shell(pair: Pair, side: str) -> None:
    terminal = Terminal(pair, side, "run --rm -it busybox sh")
    terminal.wait_for(b"# ")
    terminal.type(b"stty size; tty\n")
    terminal.wait_for(b"30 100")
    terminal.resize(60, 20)
    terminal.process.send_signal(signal.SIGWINCH)
    terminal.type(b"until stty size | grep '20 60'; do :; done; echo fit''s\n")
    terminal.wait_for(b"fits")
    terminal.type(b"exit 7\n")
    assert terminal.end() == 7


@pytest.mark.parametrize("side", SIDES)
def test_detach_attach_and_exec(pair: Pair, side: str, shared_engine: StoreEngine) -> None:
    name = f"{PREFIXES[side]}-shell"
    terminal = Terminal(pair, side, "run -it --name {me}-shell busybox sh")
    terminal.wait_for(b"# ")
    terminal.type(DETACH)
    assert terminal.end() == 0
    assert shared_engine.state(name) == "running"
    terminal = Terminal(pair, side, "attach --detach-keys ctrl-a,x {me}-shell")
    terminal.wait_for(b"# ")
    terminal.type(b"echo here''it is\n")
    terminal.wait_for(b"hereit is")
    terminal.type(b"\x01x")
    terminal.wait_for(b"read escape sequence")
    assert terminal.end() == 1
    terminal = Terminal(pair, side, "exec -it {me}-shell sh -c 'echo ready; cat; exit 9'")
    terminal.wait_for(b"ready")
    terminal.type(b"typed\n\x04")
    terminal.wait_for(b"typed\r\ntyped")
    assert terminal.end() == 9
    terminal = Terminal(pair, side, "exec -it {me}-shell sh")
    terminal.wait_for(b"# ")
    terminal.type(DETACH)
    detached = terminal.end()
    assert detached == 1
    assert pair.run(side, "stop -t 0 {me}-shell").status == 0
    terminal = Terminal(pair, side, "start -ai {me}-shell")
    terminal.wait_for(b"# ")
    terminal.type(b"exit 5\n")
    assert terminal.end() == 5
    assert pair.run(side, "rm {me}-shell").status == 0


TRAP = "trap 'echo got; exit 5' INT; echo ready; while :; do sleep 0.05; done"


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("words", [f'run --rm busybox sh -c "{TRAP}"'])
def test_signals_reach_the_process(pair: Pair, side: str, words: str) -> None:
    terminal = Terminal(pair, side, words)
    terminal.wait_for(b"ready")
    terminal.process.send_signal(signal.SIGINT)
    terminal.wait_for(b"got")
    assert terminal.end() == 5


@pytest.mark.parametrize("words", ["logs -f {me}-talk", "events --since 1h", "stats {me}-talk"])
def test_following_ends_with_an_interrupt(pair: Pair, words: str) -> None:
    pair.assert_same("run -d --name {me}-talk busybox sh -c 'echo talk; exec sleep 1000'")
    ends = []
    for side in SIDES:
        terminal = Terminal(pair, side, words)
        terminal.wait_for(b"talk")
        terminal.process.send_signal(signal.SIGINT)
        ends.append(terminal.end())
        pair.run(side, "rm -f {me}-talk")
    assert ends[0] == ends[1]


LAYERS = [
    {"status": "Pulling from library/x", "id": "latest"},
    {"status": "Pulling fs layer", "progressDetail": {}, "id": "aaa"},
    {"status": "Pulling fs layer", "progressDetail": {}, "id": "bbb"},
    {"status": "Waiting", "progressDetail": {}, "id": "bbb"},
    {"status": "Downloading", "progressDetail": {"current": 5_000, "total": 20_000}, "id": "aaa"},
    {"status": "Downloading", "progressDetail": {"current": 90, "total": 80}, "id": "bbb"},
    {"status": "Extracting", "progressDetail": {"current": 3, "units": "s"}, "id": "aaa"},
    {"status": "Extracting", "progressDetail": {"current": 1234567}, "id": "bbb"},
    {
        "status": "Hiding",
        "progressDetail": {"current": 1, "total": 2, "hidecounts": True},
        "id": "b",
    },
    {"status": "Pull complete", "progressDetail": {}, "id": "aaa"},
    {"status": "Digest: sha256:1234"},
    {"status": "Pushing", "progressDetail": {"current": 1, "total": 3}, "id": "ccc"},
    {"stream": "Step 1/2 : FROM x\n"},
    {"aux": {"ID": "sha256:1"}},
    {"status": "Status: Downloaded newer image"},
]
FAILURE = {"errorDetail": {"code": 3, "message": "went wrong"}, "error": "went wrong"}


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorder]:
    found = Recorder(tmp_path_factory.mktemp("progress"))
    yield found
    found.engine.close()


@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize("columns", [150, 80])
@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ("POST /images/create", "pull x"),
        ("POST /images/x/push", "push x"),
    ],
)
def test_progress(
    recorder: Recorder, tmp_path: Path, request_: str, words: str, columns: int, failing: bool
) -> None:
    from tests.engine.docker_cli.pair import Pair

    pair = Pair(recorder.path, tmp_path)
    method, target = request_.split()
    lines = [*LAYERS, FAILURE] if failing else LAYERS
    body = "".join(json.dumps(line) + "\r\n" for line in lines).encode()
    recorder.engine.answer_raw(f"{method} {API}{target}", OK + body)
    said = []
    for side in SIDES:
        terminal = Terminal(pair, side, words)
        terminal.resize(columns, 30)
        status = terminal.end()
        said.append((status, terminal.output))
    assert said[1] == said[0], f"{said[0]}\n{said[1]}"
    pair.assert_same(words)
