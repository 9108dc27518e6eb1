"""The system's log file: its last lines, and what is added to it.

The syslog service writes it and rotates it by renaming; following goes on with the new file.
"""

from __future__ import annotations

import os
import time

from orlop.cli.relay import write_all
from orlop.lib.errors import NotFound

LOG_PATH = "/var/log/orlop/messages"
STDOUT = 1
BLOCK_BYTES = 64 << 10
FOLLOW_PAUSE_S = 0.25
"""inotify would need ctypes, which costs more than looking four times a second."""


def show(*, tail: int, follow: bool, since_s: float | None = None, path: str = LOG_PATH) -> None:
    """Write the last *tail* lines of the log, those from *since_s* on, to stdout.

    Raises:
        NotFound: there is no log (yet).
    """
    descriptor = _open(path)
    try:
        position = os.fstat(descriptor).st_size
        lines = last_lines(descriptor, position, tail)
        write_all(STDOUT, b"".join(line for line in lines if not _is_before(line, since_s)))
        while follow:
            descriptor, position = _follow(path, descriptor, position)
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


def _follow(path: str, descriptor: int, position: int) -> tuple[int, int]:
    """Write what was added since *position*; the descriptor and position to go on from."""
    data = os.pread(descriptor, BLOCK_BYTES, position)
    if data:
        write_all(STDOUT, data)
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

    moment = parse_time(line[:64].decode(errors="replace").partition(" ")[0])
    return moment is not None and moment < since_s


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(
            f"there is no log at {path}", hint="is the syslog service running? orlop service ls"
        ) from None
