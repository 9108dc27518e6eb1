"""A session of SSH that has a terminal, and is recorded: sshd's ForceCommand, run as the user.

The user's shell gets a terminal of its own; what it shows goes to the client's, and as asciicast 2
to a file of root's (`orlop.services.elevate.recording`). What is typed is recorded as far as it is
shown, so passwords are not. If there is no file the session is what it is without.

Exit status: that of the shell.
"""

import codecs
import contextlib
import json
import os
import pwd
import select
import signal
import socket
import termios
import time
import tty
from typing import Any

from orlop.wire import elevation

READ_BYTES = 16 << 10
ANSWER_TIMEOUT_S = 20.0
COMMAND = "SSH_ORIGINAL_COMMAND"


class Recording:
    """Events of a session, to a pipe that may break."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._started_s = time.monotonic()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._new_size = ""

    def output(self, data: bytes) -> None:
        """What the terminal shows; a character may come in pieces."""
        if size := self._new_size:
            self._new_size = ""
            self._add("r", size)
        if text := self._decoder.decode(data):
            self._add("o", text)

    def resize(self, columns: int, rows: int) -> None:
        """The terminal has another size. For a signal's handler, which may run while an event is
        being written: so it is noted with the next output."""
        self._new_size = f"{columns}x{rows}"

    def _add(self, kind: str, text: str) -> None:
        if self._pipe < 0:
            return
        event = [round(time.monotonic() - self._started_s, 6), kind, text]
        try:
            write(self._pipe, json.dumps(event).encode() + b"\n")
        except OSError:  # the file is full
            os.close(self._pipe)
            self._pipe = -1


def write(descriptor: int, data: bytes) -> None:
    """All of *data*.

    Raises:
        OSError: nobody takes it.
    """
    while data:
        data = data[os.write(descriptor, data) :]


def ask(connection: socket.socket, size: tuple[int, int]) -> int:
    """The pipe that root's process gives; -1 if it gives none."""
    connection.settimeout(ANSWER_TIMEOUT_S)
    request = {
        "command": [],
        "terminals": [True, True, True],
        "size": [*size],
        "term": os.environ.get("TERM", "dumb"),
        "record": True,
    }
    try:
        connection.connect(elevation.SOCKET)
        socket.send_fds(connection, [elevation.encode(request)], [0, 1, 2])
        _, descriptors, _, _ = socket.recv_fds(
            connection, elevation.MAX_LINE_BYTES, 1, socket.MSG_CMSG_CLOEXEC
        )
    except OSError:
        descriptors = []
    return descriptors[0] if descriptors else -1


def start(shell: str, size: tuple[int, int], modes: list[Any]) -> tuple[int, int]:
    """The shell's process, and our end of its terminal, which has *modes*."""
    command = os.environ.pop(COMMAND, None)
    words = [f"-{os.path.basename(shell)}"] if command is None else [shell, "-c", command]
    master, slave = os.openpty()
    termios.tcsetattr(slave, termios.TCSANOW, modes)
    termios.tcsetwinsize(slave, (size[1], size[0]))
    name = os.ttyname(slave)
    if "SSH_TTY" in os.environ:
        os.environ["SSH_TTY"] = name
    opened = [(os.POSIX_SPAWN_OPEN, standard, name, os.O_RDWR, 0) for standard in range(3)]
    child = os.posix_spawn(
        shell, words, os.environ, file_actions=opened, setsid=True,
        setsigmask=[], setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
    )  # fmt: skip
    os.close(slave)
    return child, master


def relay(master: int, recording: Recording) -> None:
    """Between the two terminals, until the shell's has nobody any more, or the client's is gone."""

    def resized(*_: object) -> None:
        with contextlib.suppress(OSError, termios.error):
            rows, columns = termios.tcgetwinsize(0)
            termios.tcsetwinsize(master, (rows, columns))
            recording.resize(columns, rows)

    signal.signal(signal.SIGWINCH, resized)
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(master, select.POLLIN)
    while True:
        ready = [descriptor for descriptor, _ in poll.poll()]
        try:
            if master in ready:
                data = os.read(master, READ_BYTES)
                if not data:
                    return
                recording.output(data)
                write(1, data)
            if 0 in ready:
                typed = os.read(0, READ_BYTES)
                if not typed:
                    return
                write(master, typed)
        except OSError:
            return


def main(argv: list[str]) -> int:
    """Be the session."""
    del argv
    shell = pwd.getpwuid(os.getuid()).pw_shell or "/bin/sh"
    rows, columns = termios.tcgetwinsize(0)
    before = termios.tcgetattr(0)
    tty.setraw(0, termios.TCSANOW)  # not a key of what was typed meanwhile is lost
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            recording = Recording(ask(connection, (columns, rows)))
        child, master = start(shell, (columns, rows), before)
        relay(master, recording)
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(0, termios.TCSADRAIN, before)
    os.close(master)  # who is left in it gets SIGHUP
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
