"""A file system whose server stops to answer: what a dead NFS server or a broken disk looks like.

FUSE, spoken here: one directory with the directory `sub` and the file `file` in it. While `hang`
is set requests are taken and not answered, which is a wait that no signal ends, until the end of
the block. Source: Linux include/uapi/linux/fuse.h.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import struct
import threading
from typing import TYPE_CHECKING

from orlop.lib import mount

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, INIT = 1, 2, 3, 14, 15, 17, 18, 26
OPENDIR, READDIR, RELEASEDIR = 27, 28, 29
_IN = struct.Struct("=IIQQIIIHH")
_OUT = struct.Struct("=IiQ")
_ATTRIBUTES = struct.Struct("=QQQQQQIIIIIIIIII")
ROOT, SUB, FILE = 1, 2, 3
_MODES = {ROOT: stat.S_IFDIR | 0o755, SUB: stat.S_IFDIR | 0o755, FILE: stat.S_IFREG | 0o644}


class HangingDisk:
    """Mounted at *path*."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hang = threading.Event()
        self.unanswered = 0
        """Requests that came while it hung."""
        self._fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        self._end_reading, self._end_writing = os.pipe2(os.O_CLOEXEC)
        options = f"fd={self._fd},rootmode=40000,user_id=0,group_id=0,allow_other"
        mount.mount("hanging", path, "fuse", mount.MountFlag(0), options)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close_waiters(self) -> None:
        """It is gone for good: whoever waits gets an error."""
        if self._fd >= 0:
            os.write(self._end_writing, b".")
            self._thread.join()
            os.close(self._fd)
            self._fd = -1

    def close(self) -> None:
        self.close_waiters()
        mount.detach(self.path)
        os.close(self._end_reading)
        os.close(self._end_writing)

    def _serve(self) -> None:
        while True:
            ready, _, _ = select.select([self._fd, self._end_reading], [], [])
            if self._end_reading in ready:
                return
            try:
                request = os.read(self._fd, 1 << 20)
            except OSError as error:
                if error.errno == errno.ENOENT:  # it was interrupted
                    continue
                return
            if self.hang.is_set():
                self.unanswered += 1
                continue
            self._answer(request)

    def _answer(self, request: bytes) -> None:
        _size, opcode, unique, node, *_ = _IN.unpack_from(request)
        if opcode == FORGET:
            return
        error, data = self._act(opcode, node, request[_IN.size :])
        with contextlib.suppress(OSError):
            os.write(self._fd, _OUT.pack(_OUT.size + len(data), -error, unique) + data)

    def _act(self, opcode: int, node: int, body: bytes) -> tuple[int, bytes]:
        match opcode:
            case 26:  # INIT
                return 0, struct.pack(
                    "=IIIIHHIIHHII24x", 7, 31, 0, 0, 12, 9, 1 << 16, 1, 0, 0, 0, 0
                )
            case 3:  # GETATTR: nothing may be remembered
                return 0, struct.pack("=QII", 0, 0, 0) + _attributes(node)
            case 1:  # LOOKUP
                found = {b"sub": SUB, b"file": FILE}.get(body.rstrip(b"\0"))
                if found is None:
                    return errno.ENOENT, b""
                return 0, struct.pack("=QQQQII", found, 0, 0, 0, 0, 0) + _attributes(found)
            case 14 | 27:  # OPEN, OPENDIR: without the page cache
                return 0, struct.pack("=QII", 0, 1, 0)
            case 15 | 28 | 18 | 29 | 25:  # READ, READDIR, RELEASE, RELEASEDIR, FLUSH
                return 0, b""
            case 17:  # STATFS
                return 0, struct.pack("=QQQQQIIII24x", 1, 1, 1, 1, 1, 4096, 255, 4096, 0)
            case _:
                return errno.ENOSYS, b""


def _attributes(node: int) -> bytes:
    links = 2 if node != FILE else 1
    size = 4096 if node == FILE else 0
    numbers = (node, size, 8, 0, 0, 0, 0, 0, 0, _MODES[node], links, 0, 0, 0, 4096, 0)
    return _ATTRIBUTES.pack(*numbers)


@contextlib.contextmanager
def hanging_disk(path: Path) -> Iterator[HangingDisk]:
    """One at *path*, which is made; it does not hang yet."""
    path.mkdir()
    disk = HangingDisk(path)
    try:
        yield disk
    finally:
        disk.close()
