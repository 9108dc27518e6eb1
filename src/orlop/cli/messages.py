"""The system's log file: its last lines, and what is added to it.

The syslog service writes it and rotates it by renaming; following goes on with the new file.
"""

from __future__ import annotations

import os
import time

from orlop.cli.log_lines import parse_line, readable
from orlop.cli.relay import write_all
from orlop.lib.errors import NotFound

LOG_PATH = "/var/log/orlop/messages"
STDOUT = 1
BLOCK_BYTES = 64 << 10
FOLLOW_PAUSE_S = 0.25
"""inotify would need ctypes, which costs more than looking four times a second."""


def show(
    *,
    tail: int,
    follow: bool,
    since_s: float | None = None,
    raw: bool = False,
    path: str = LOG_PATH,
) -> None:
    """Write the last *tail* lines of the log, those from *since_s* on, to stdout.

    With *raw* as they are in the file; otherwise as `log_lines` shows them.

    Raises:
        NotFound: there is no log (yet).
    """
    descriptor = _open(path)
    try:
        position = os.fstat(descriptor).st_size
        lines = last_lines(descriptor, position, tail)
        output = _Output(raw=raw)
        output.write(b"".join(line for line in lines if not _is_before(line, since_s)))
        while follow:
            descriptor, position = _follow(path, descriptor, position, output)
    finally:
        os.close(descriptor)


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

    def __init__(self, *, raw: bool) -> None:
        self._raw = raw
        self._rest = b""

    def write(self, data: bytes) -> None:
        if self._raw:
            write_all(STDOUT, data)
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        texts = (readable(line.decode(errors="replace")) for line in lines)
        write_all(STDOUT, "".join(f"{text}\n" for text in texts).encode())


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


def _is_before(line: bytes, since_s: float | None) -> bool:
    """Does *line* begin with a time before *since_s*? A line without one is kept."""
    if since_s is None:
        return False
    from orlop.cli.text import parse_time

    entry = parse_line(line.decode(errors="replace"))
    moment = parse_time(str(entry["time"])) if entry else None
    return moment is not None and moment < since_s


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(
            f"there is no log at {path}", hint="is the syslog service running? orlop service ls"
        ) from None
