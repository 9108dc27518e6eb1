"""The console's program on a terminal of this system: the board, a key, a shell, and what happens
when nobody draws the board."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orlop.image.source_build import compile_commands, read_builds

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.engine]

CHECKOUT = Path(__file__).resolve().parents[2]
LIMIT_S = 60.0

# $1 our directory, $2 the terminal. Its name in /dev must be one that consoles have.
_ENTER = """
set -e
mount --make-rprivate /
touch "$1/terminal"
mount --bind "$2" "$1/terminal"
mkdir -p /run/orlop
mount --bind "$1/run" /run/orlop
mount --bind "$1/cmdline" /proc/cmdline
mount -t tmpfs none /dev
mknod -m 666 /dev/null c 1 3
touch /dev/ttyS9
mount --bind "$1/terminal" /dev/ttyS9
exec "$1/console" "$1/greeting"
"""


class Board:
    """Answers on the system's socket with *answer*, or hangs up if it is empty."""

    def __init__(self, path: Path) -> None:
        self.answer = b""
        self.asked: list[str] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def draw(self, text: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text)
        self.answer = head + text

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    self.asked.append(connection.recv(4096).decode().split("\r\n")[0])
                    connection.sendall(self.answer)


class Terminal:
    """The other end of a console."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        self.text = b""

    def wait_for(self, wanted: bytes) -> None:
        """Read until *wanted* has come; what came before it is forgotten."""
        deadline_s = time.monotonic() + LIMIT_S
        while wanted not in self.text:
            left_s = deadline_s - time.monotonic()
            assert left_s > 0, f"{wanted!r} did not come: {self.text[-400:]!r}"
            if select.select([self.ours], [], [], left_s)[0]:
                self.text += os.read(self.ours, 65536)
        self.text = self.text.partition(wanted)[2]

    def type(self, data: bytes) -> None:
        os.write(self.ours, data)

    def use_shell(self) -> None:
        """Show that a shell is there; what is typed before its prompt is not kept."""
        self.wait_for(b"# ")
        self.type(b"echo mark$((40+2))\n")
        self.wait_for(b"mark42")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("console")
    build = read_builds(CHECKOUT / "os/build")["console"]
    for command in compile_commands(build, CHECKOUT, directory):
        subprocess.run(command, cwd=directory, check=True)
    return directory / "console"


@pytest.fixture
def directory(program: Path, tmp_path: Path) -> Path:
    shutil.copy(program, tmp_path / "console")
    (tmp_path / "run").mkdir()
    (tmp_path / "cmdline").write_text("orlop.console=ttyS9\n")
    greeting = tmp_path / "greeting"
    greeting.write_text("#!/bin/sh\necho hello from the greeting\n")
    greeting.chmod(0o755)
    return tmp_path


@pytest.fixture
def board(directory: Path) -> Iterator[Board]:
    serving = Board(directory / "run/system.sock")
    yield serving
    serving.close()


@pytest.fixture
def terminal(directory: Path) -> Iterator[Terminal]:
    found = Terminal()
    name = os.ttyname(found.theirs)
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", _ENTER, "sh", str(directory), name]
    )
    yield found
    process.terminate()
    process.wait(LIMIT_S)
    os.close(found.ours)
    os.close(found.theirs)


def test_a_key_opens_a_shell_and_its_end_leads_back(board: Board, terminal: Terminal) -> None:
    board.draw(b"\x1b[1;1HTHE BOARD")
    terminal.wait_for(b"\x1b[2J\x1b[1;1HTHE BOARD")
    assert "terminal=ttyS9&columns=80&rows=24" in board.asked[-1]
    terminal.type(b"q")
    terminal.wait_for(b"leads back to the board")
    terminal.use_shell()
    drawn = len(board.asked)
    terminal.type(b"exit\n")
    terminal.wait_for(b"THE BOARD")
    assert len(board.asked) > drawn


def test_the_board_is_drawn_again(board: Board, terminal: Terminal) -> None:
    board.draw(b"first")
    terminal.wait_for(b"first")
    board.draw(b"second")
    terminal.wait_for(b"second")


def test_a_terminal_without_one_greets(board: Board, terminal: Terminal) -> None:
    board.answer = b"HTTP/1.1 204 No Content\r\n\r\n"
    terminal.wait_for(b"Press Enter for a shell")
    terminal.type(b"\n")
    terminal.use_shell()


def test_nobody_answers_and_one_can_log_in(terminal: Terminal) -> None:
    terminal.wait_for(b"Press Enter for a shell")
    terminal.type(b"\n")
    terminal.use_shell()


def test_a_board_that_goes_is_replaced_by_the_greeting(board: Board, terminal: Terminal) -> None:
    board.draw(b"THE BOARD")
    terminal.wait_for(b"THE BOARD")
    board.answer = b"HTTP/1.1 500 Broken\r\n\r\nwhat\x1b[2J"
    terminal.wait_for(b"Press Enter for a shell")
    terminal.type(b"\n")
    terminal.use_shell()
