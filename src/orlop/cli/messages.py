"""The system's log file: its last lines, and what is added to it.

The syslog service writes it and rotates it by renaming; following goes on with the new file.
"""

from __future__ import annotations

import os
import time

from orlop.cli.json_text import compact
from orlop.cli.log_lines import readable
from orlop.cli.relay import write_all
from orlop.lib.errors import NotFound
from orlop.wire.syslog_line import parse_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from orlop.cli.log_choice import Choice

LOG_PATH = "/var/log/orlop/messages"
STDOUT = 1
BLOCK_BYTES = 64 << 10
OLDER_MAX = 9
"""How many files before the present one are looked for; the service keeps three."""
FILE_LIMIT_BYTES = 8 << 20
MAX_CHOSEN = 1 << 17
FOLLOW_PAUSE_S = 0.25
"""inotify would need ctypes, which costs more than looking four times a second."""


def show(
    *,
    tail: int,
    follow: bool,
    choice: Choice | None = None,
    form: str = "",
    path: str = LOG_PATH,
) -> None:
    """Write the last *tail* lines of the log that are in *choice* to stdout.

    *form*: `raw` as they are in the file, `json`, or else as `log_lines` shows them. What is left
    out is looked for in the files before this one too.

    Raises:
        NotFound: there is no log (yet).
    """
    descriptor = _open(path)
    try:
        position = os.fstat(descriptor).st_size
        output = _Output(form, choice)
        if choice is None or choice.is_everything:
            output.write(b"".join(last_lines(descriptor, position, tail)))
        elif tail:
            output.write(b"".join(_chosen(path, position, tail, choice)))
        while follow:
            descriptor, position = _follow(path, descriptor, position, output)
    finally:
        os.close(descriptor)


def latest(count: int, path: str = LOG_PATH) -> Iterable[bytes]:
    """The last *count* lines as they are stored, of the files before this one too.

    Raises:
        NotFound: there is no log (yet).
    """
    from orlop.cli.log_choice import Choice

    descriptor = _open(path)
    try:
        return _chosen(path, os.fstat(descriptor).st_size, count, Choice())
    finally:
        os.close(descriptor)


def _chosen(path: str, end: int, tail: int, choice: Choice) -> Iterable[bytes]:
    """The last *tail* lines in *choice*, of this file up to *end* and of those before it."""
    from collections import deque

    found: deque[bytes] = deque(maxlen=min(tail, MAX_CHOSEN))
    numbers = [n for n in range(OLDER_MAX, 0, -1) if os.path.exists(f"{path}.{n}")]
    for name, size in (*((f"{path}.{n}", None) for n in numbers), (path, end)):
        try:
            with open(name, "rb") as stream:
                data = stream.read(FILE_LIMIT_BYTES if size is None else size)
        except FileNotFoundError:  # rotated meanwhile
            continue
        for line in data.splitlines(keepends=True):
            text = line.decode(errors="replace").rstrip("\n")
            if choice.wants_entry(parse_line(text), text):
                found.append(line)
    return found


def last_lines(descriptor: int, end: int, count: int) -> list[bytes]:
    """The last *count* lines before the offset *end*, read backwards in blocks."""
    if count == 0:
        return []
    data = b""
    while end > 0 and data.count(b"\n") <= count:
        start = max(end - BLOCK_BYTES, 0)
        data = os.pread(descriptor, end - start, start) + data
        end = start
    return data.splitlines(keepends=True)[-count:]


class _Output:
    """Stdout, line by line: half a line waits for its other half."""

    def __init__(self, form: str, choice: Choice | None) -> None:
        self._form = form
        self._choice = None if choice is None or choice.is_everything else choice
        self._rest = b""

    def write(self, data: bytes) -> None:
        if self._form == "raw" and self._choice is None:
            write_all(STDOUT, data)
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        texts = [line.decode(errors="replace") for line in lines]
        if self._choice is not None:
            choice = self._choice
            texts = [text for text in texts if choice.wants_entry(parse_line(text), text)]
        write_all(STDOUT, "".join(f"{self._shown(text)}\n" for text in texts).encode())

    def _shown(self, line: str) -> str:
        if self._form == "raw":
            return line
        if self._form == "json":
            return compact(parse_line(line) or {"message": line})
        return readable(line)


def _follow(path: str, descriptor: int, position: int, output: _Output) -> tuple[int, int]:
    """Write what was added since *position*; the descriptor and position to go on from."""
    data = os.pread(descriptor, BLOCK_BYTES, position)
    if data:
        output.write(data)
        return descriptor, position + len(data)
    if _is_other_file(path, descriptor):
        replacement = _open(path)
        os.close(descriptor)
        return replacement, 0
    time.sleep(FOLLOW_PAUSE_S)
    # Shorter than it was: the log was emptied in place.
    return descriptor, min(position, os.fstat(descriptor).st_size)


def _is_other_file(path: str, descriptor: int) -> bool:
    try:
        found = os.stat(path)
    except FileNotFoundError:  # in the middle of a rotation
        return False
    own = os.fstat(descriptor)
    return (found.st_dev, found.st_ino) != (own.st_dev, own.st_ino)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(
            f"there is no log at {path}", hint="is the syslog service running? orlop service ls"
        ) from None
