"""Writes a container's log: blocks, in files of bounded size, of which a bounded number is kept.

`log` is the newest, `log.1` the one before. Writing never raises and never waits for anything but
the page cache: where the disk is full or the directory gone, output is dropped and counted.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from typing import TYPE_CHECKING

from orlop.engine.logs import file
from orlop.engine.logs import format as log_format

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orlop.wire.compose_model import LogLimits
    from orlop.wire.stdcopy import Stream

log = logging.getLogger(__name__)

MIN_FILE_BYTES = 128 << 10
"""Two of the largest reads fit: a smaller limit would keep nothing of a fast writer."""

REOPEN_INTERVAL_S = 1.0
"""How often a file that cannot be opened is tried again, at most."""


class LogWriter:
    """One container's log. Only one writer may exist for a directory."""

    def __init__(self, directory: Path, limits: LogLimits) -> None:
        self._directory = directory
        self._limit_bytes = max(limits.size_bytes, MIN_FILE_BYTES)
        self._files = max(limits.files, 1)
        self._fd = -1
        self._size_bytes = 0
        self._retry_at_s = 0.0
        self._followers: set[Callable[[], None]] = set()
        self._open_lines: set[Stream] = set()
        self._continued: set[Stream] = set()
        self.generation = 0
        """How often the log was rotated by this writer; readers find their file by it."""
        self.dropped_bytes = 0
        self.last_ns = 0
        """The time of the last block that this writer has stored."""

    @property
    def limits(self) -> tuple[int, int]:
        """Bytes per file, and files."""
        return self._limit_bytes, self._files

    def path(self, index: int = 0) -> Path:
        """The *index*-th newest file."""
        return self._directory / (f"log.{index}" if index else "log")

    def file_count(self) -> int:
        """How many files exist, newest to oldest without a gap."""
        count = 0
        while count < self._files and self.path(count).exists():
            count += 1
        return count

    def append(self, stream: Stream, data: bytes, time_ns: int | None = None) -> None:
        """Add one block; never raises."""
        moment_ns = time.time_ns() if time_ns is None else time_ns
        if self._fd < 0 and not self._open():
            self.dropped_bytes += len(data)
            return
        if self._size_bytes and self._size_bytes + len(data) > self._limit_bytes:
            self._rotate()
            if self._fd < 0:
                self.dropped_bytes += len(data)
                return
        parts = log_format.encode(stream, moment_ns, data, continues=stream in self._continued)
        total = sum(map(len, parts))
        try:
            written = os.writev(self._fd, parts)
            if written != total:
                os.ftruncate(self._fd, self._size_bytes)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._failed(error)
            self.dropped_bytes += len(data)
            return
        self._size_bytes += total
        self._note_line_end(stream, data)
        self.last_ns = moment_ns
        self.wake()

    def _note_line_end(self, stream: Stream, data: bytes) -> None:
        self._continued.discard(stream)
        if data.endswith(b"\n"):
            self._open_lines.discard(stream)
        elif data:
            self._open_lines.add(stream)

    def last_block(self) -> log_format.Block | None:
        """The newest block that is stored, by whatever writer; None if it cannot be told."""
        try:
            descriptor = os.open(self.path(), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            found = file.block_before(descriptor, file.whole_end(descriptor))
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return found[0] if found is not None else None

    def follow(self, callback: Callable[[], None]) -> None:
        """Call *callback* after each block; it must return at once and not raise."""
        self._followers.add(callback)

    def unfollow(self, callback: Callable[[], None]) -> None:
        self._followers.discard(callback)

    def wake(self) -> None:
        """Make every follower look again, for other reasons than a new block."""
        for follower in tuple(self._followers):
            follower()

    def close(self) -> None:
        """Close the file; a later `append` opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> bool:
        now_s = time.monotonic()
        if now_s < self._retry_at_s:
            return False
        path = self.path()
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fd = os.open(path, flags, 0o600)
            self._size_bytes = file.whole_end(self._fd)
            os.ftruncate(self._fd, self._size_bytes)
            last = file.block_before(self._fd, self._size_bytes)
        except OSError as error:
            self._failed(error)
            return False
        if last is not None:
            self._note_line_end(last[0].stream, last[0].payload)
        return True

    def _rotate(self) -> None:
        self.close()
        try:
            for index in range(self._files - 1, 0, -1):
                if self.path(index - 1).exists():
                    os.rename(self.path(index - 1), self.path(index))
            if self._files == 1:
                os.unlink(self.path())
        except OSError as error:
            self._failed(error)
            return
        self.generation += 1
        self._continued |= self._open_lines
        self._open()

    def _failed(self, error: OSError) -> None:
        if not self.dropped_bytes:
            log.warning("cannot write the log in %s: %s, dropping output", self._directory, error)
        self.close()
        self._retry_at_s = time.monotonic() + REOPEN_INTERVAL_S
