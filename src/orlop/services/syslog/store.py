"""The message file: appended to, rotated by size, never more than its share of the disk.

`messages` is written; when it is full it becomes `messages.1`, that one `messages.2`, and the last
one goes. On a full disk the oldest file is given up first; if that does not help, messages are
dropped and counted, and the count is written when there is room again. What was written is whole
lines: a torn one is cut off again. Synced within SYNC_S, not per message.
"""

import errno
import os

MAX_FILE_BYTES = 1 << 20
MAX_FILES = 4
SYNC_S = 5.0
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Store:
    """The files named *path*, *path*.1 … in a directory that exists.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(
        self, path: str, *, max_file_bytes: int = MAX_FILE_BYTES, max_files: int = MAX_FILES
    ) -> None:
        self._path = path
        self._max_file_bytes = max_file_bytes
        self._max_files = max_files
        self._descriptor = -1
        self._size = 0
        self.dropped = 0
        self._dirty_since_s: float | None = None
        self._open()

    def append(self, lines: list[bytes], now_s: float) -> bool:
        """Write *lines*, each without its line end; False if there was no room and they are lost.

        Raises:
            OSError: anything but a full disk.
        """
        data = b"".join(line + b"\n" for line in lines)
        if not data:
            return True
        if self._size and self._size + len(data) > self._max_file_bytes:
            self._rotate()
        if not self._write(data) and not (self._give_up_oldest() and self._write(data)):
            self.dropped += len(lines)
            return False
        if self._dirty_since_s is None:
            self._dirty_since_s = now_s
        return True

    def sync_in_s(self, now_s: float) -> float | None:
        """How long until `sync` is due; None when everything is on disk."""
        if self._dirty_since_s is None:
            return None
        return max(0.0, self._dirty_since_s + SYNC_S - now_s)

    def sync(self) -> None:
        """Make durable what was written."""
        if self._dirty_since_s is not None:
            self._dirty_since_s = None
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        self.sync()
        os.close(self._descriptor)

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._path, flags, 0o640)
        self._size = os.fstat(self._descriptor).st_size
        if self._size and os.pread(self._descriptor, 1, self._size - 1) != b"\n":
            self._write(b"\n")  # the line was torn by a power cut; the next one begins cleanly

    def _write(self, data: bytes) -> bool:
        """All of *data*, or nothing and False."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            os.ftruncate(self._descriptor, self._size)
            if error.errno in NO_ROOM:
                return False
            raise
        self._size += len(data)
        return True

    def _rotate(self) -> None:
        self.sync()
        os.close(self._descriptor)
        for number in range(self._max_files - 1, 0, -1):
            try:
                os.rename(self._name(number - 1), self._name(number))
            except FileNotFoundError:
                pass  # not so many yet
        if self._max_files == 1:
            os.unlink(self._path)
        self._open()

    def _give_up_oldest(self) -> bool:
        for number in range(self._max_files, 0, -1):
            try:
                os.unlink(self._name(number))
            except FileNotFoundError:
                continue
            return True
        return False

    def _name(self, number: int) -> str:
        return f"{self._path}.{number}" if number else self._path
