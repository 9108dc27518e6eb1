"""In a worker: writes blobs as they come, hashing and unpacking them on the way.

Hashing runs in a thread of its own beside reading, decompression and writing; all of them leave
the interpreter's lock. The thread is started before privileges are dropped and serves one blob
after the other.
"""

from __future__ import annotations

import importlib
import os
import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orlop.engine.store import compression
from orlop.lib.errors import ResourceExhausted

if TYPE_CHECKING:
    from collections.abc import Callable

READ_BYTES = 1 << 20
_QUEUED = 16

WRITEBACK_BYTES = 32 << 20
"""Written data is sent to the disk every so often, so that the sync at the end finds little."""
_SYNC_FILE_RANGE_WRITE = 2


def sha256() -> Any:
    """A hash object: OpenSSL's, three times as fast, where a worker has it."""
    try:
        # By its name, for the builder: the root of PID 1, which never runs this, needs no OpenSSL.
        openssl = importlib.import_module("_hashlib")
    except ImportError:
        from _sha2 import sha256 as plain  # type: ignore[import-not-found,unused-ignore]

        return plain()
    return openssl.openssl_sha256()


class HashThread:
    """Does what it is given in order; `wait` until all of it is done."""

    def __init__(self) -> None:
        self._queue: queue.Queue[tuple[Callable[[Any], object], Any]] = queue.Queue(_QUEUED)

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def put(self, act: Callable[[Any], object], data: bytes | memoryview) -> None:
        self._queue.put((act, data))

    def wait(self) -> None:
        self._queue.join()

    def _run(self) -> None:
        while True:
            act, data = self._queue.get()
            act(data)
            self._queue.task_done()


class Budget:
    """How much may still be written: what stands between a bomb and a full disk."""

    def __init__(self, left_bytes: int) -> None:
        self._left_bytes = left_bytes

    def take(self, size: int) -> None:
        """Raises: ResourceExhausted: it is used up."""
        self._left_bytes -= size
        if self._left_bytes < 0:
            raise ResourceExhausted("no space left on device")


@dataclass(frozen=True, slots=True)
class Blob:
    """What was written: *path* holds the bytes as they came, *tar* those unpacked from them.

    *tar* is *path* when it was not compressed, and then so is its digest.
    """

    path: str
    size: int
    digest: str
    tar: str
    tar_size: int
    tar_digest: str
    compression: str


class _File:
    def __init__(self, path: str, budget: Budget, hashing: HashThread) -> None:
        self.path = path
        self.size = 0
        self._sent = 0
        self._budget = budget
        self._hashing = hashing
        self._hash = sha256()
        self._descriptor = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )

    def write(self, data: bytes | memoryview) -> None:
        self._budget.take(len(data))
        self._hashing.put(self._hash.update, data)
        self.size += len(data)
        while data:
            data = data[os.write(self._descriptor, data) :]
        if self.size - self._sent >= WRITEBACK_BYTES:
            start_writeback(self._descriptor, self._sent, self.size - self._sent)
            self._sent = self.size

    def close(self) -> None:
        start_writeback(self._descriptor, self._sent, self.size - self._sent)
        os.close(self._descriptor)

    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


class Spool:
    """Takes one blob at a time; *directory* is the present one."""

    def __init__(self, budget: Budget, hashing: HashThread) -> None:
        self._budget = budget
        self._hashing = hashing
        self._count = 0

    def open(self, *, keep_compressed: bool = True) -> BlobWriter:
        """A writer for the next blob."""
        self._count += 1
        return BlobWriter(f"blob-{self._count}", self._budget, self._hashing, keep_compressed)


class BlobWriter:
    """`write` until there is no more, then `finish`."""

    def __init__(
        self, name: str, budget: Budget, hashing: HashThread, keep_compressed: bool
    ) -> None:
        self._raw = _File(name, budget, hashing)
        self._name = name
        self._budget = budget
        self._hashing = hashing
        self._decompressor: compression.Decompressor | None = None
        self._tar: _File | None = None
        self._kind: str | None = None
        self._start = b""
        self._keep = keep_compressed

    def write(self, data: bytes | memoryview) -> None:
        """Raises: CorruptStream, ResourceExhausted, OSError."""
        if self._kind is None:
            self._start += data[: compression.MAGIC_BYTES]
            if len(self._start) < compression.MAGIC_BYTES:
                self._begin_with(data)
                return
            self._decide()
        self._raw.write(data)
        self._unpack(data)

    def _begin_with(self, data: bytes | memoryview) -> None:
        # Too little to tell what it is: what is decided later gets it from `_start`.
        self._raw.write(data)

    def _decide(self) -> None:
        self._kind = compression.detect(self._start)
        if self._kind:
            self._decompressor = compression.open_decompressor(self._kind)
            self._tar = _File(f"{self._name}.tar", self._budget, self._hashing)
            early = self._start[: self._raw.size]
            self._unpack(early)

    def _unpack(self, data: bytes | memoryview) -> None:
        if self._decompressor is not None and self._tar is not None:
            for piece in self._decompressor.feed(data):
                self._tar.write(piece)

    def finish(self) -> Blob:
        """The blob, whole.

        Raises:
            CorruptStream: the compressed stream has no end.
        """
        if self._kind is None:
            self._decide()
        if self._decompressor is not None:
            self._decompressor.finish()
        self._hashing.wait()
        self._raw.close()
        raw, tar = self._raw, self._tar or self._raw
        if self._tar is not None:
            self._tar.close()
        return Blob(
            raw.path, raw.size, raw.digest(), tar.path, tar.size, tar.digest(), self._kind or ""
        )


def start_writeback(descriptor: int, offset: int, size: int) -> None:
    """Begin to write a range to the disk, without waiting for it."""
    import ctypes

    from orlop.lib.linux import LIBC

    LIBC.sync_file_range(
        ctypes.c_int(descriptor),
        ctypes.c_int64(offset),
        ctypes.c_int64(size),
        ctypes.c_uint(_SYNC_FILE_RANGE_WRITE),
    )
