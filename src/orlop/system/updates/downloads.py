"""Blobs on their way into the directory of downloads: resumed, verified as they come. Worker only.

`SHA256.part` is on its way, `SHA256` is whole, synced, and has that digest. A delta that fails in
any way is forgotten, and the whole file fetched.
"""

from __future__ import annotations

import os
import time
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orlop.engine.worker_process import report
from orlop.lib import atomic_file
from orlop.lib.errors import Forbidden, OrlopError, ResourceExhausted
from orlop.system.updates import delta

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.system.updates.sources import Source

PROGRESS_INTERVAL_S = 0.5
READ_BYTES = 1 << 20
MARGIN_BYTES = 16 << 20
"""What a download leaves free on its file system."""

PART = ".part"
KEEP = ("etc", "given-")
"""Beginnings of names that are somebody else's: the C library's files, images that people gave."""


class Downloads:
    """Into the present directory. *base* is open for reading and has the digest *base_sha256*."""

    def __init__(self, source: Source, base: int, base_sha256: str) -> None:
        self._source = source
        self._base = base
        self._base_sha256 = base_sha256
        self._received = 0
        self._shown_s = 0.0

    def run(self, blobs: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Bring *blobs*; what else is there goes.

        Raises:
            OrlopError: one cannot be had, or there is no room for all of them.
        """
        tidy({str(blob["sha256"]) for blob in blobs})
        check_room(sum(missing_bytes(str(b["sha256"]), int(b["size_bytes"])) for b in blobs))
        for blob in blobs:
            self._bring(blob)
        return {"fetched": [blob["sha256"] for blob in blobs], "bytes": self._received}

    def _bring(self, blob: dict[str, Any]) -> None:
        digest, size = str(blob["sha256"]), int(blob["size_bytes"])
        if is_whole(digest, size):
            return
        if blob.get("delta") and self._base >= 0 and not os.path.exists(digest + PART):
            try:
                self._patch(blob)
                return
            except (OrlopError, OSError, MemoryError) as error:
                why = str(error) or "it takes too much memory"
                report({"notice": f"the delta is of no use, fetching the whole image: {why}"})
                _remove(digest + PART)
        self._fetch(str(blob["path"]), digest, size)

    def _patch(self, blob: dict[str, Any]) -> None:
        difference = blob["delta"]
        name = str(difference["sha256"])
        self._fetch(str(difference["path"]), name, int(difference["size_bytes"]))
        target = str(blob["sha256"])
        try:
            delta.apply(self._base, name, target + PART, int(blob["size_bytes"]), check_room)
        finally:
            _remove(name)
        if digest_of(target + PART) != target:
            raise Forbidden("it makes another image than it should")
        _finish(target)

    def _fetch(self, path: str, digest: str, size: int) -> None:
        if is_whole(digest, size):
            return
        resumed = os.path.exists(digest + PART)
        try:
            self._receive(path, digest, size)
        except Forbidden:
            if not resumed:
                raise
            # What was put together from pieces may be damaged where they meet: once more, whole.
            self._receive(path, digest, size)

    def _receive(self, path: str, digest: str, size: int) -> None:
        """The rest of a blob after what is there of it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        if not os.access(digest + PART, os.R_OK | os.W_OK):
            _remove(digest + PART)
        with os.fdopen(os.open(digest + PART, flags, 0o600), "r+b") as stream:
            hashed, done = sha256(), 0
            while data := stream.read(READ_BYTES):
                hashed.update(data)
                done += len(data)
            if done > size:
                stream.truncate(0)
                stream.seek(0)
                hashed, done = sha256(), 0
            check_room(size - done)

            def sink(piece: memoryview) -> None:
                nonlocal done
                hashed.update(piece)
                stream.write(piece)
                done += len(piece)
                self._received += len(piece)
                self._show(digest, done, size)

            if done < size:
                self._source.blob(path, size, done, sink)
        if hashed.hexdigest() != digest:
            _remove(digest + PART)
            raise Forbidden(f"{path} is not the one that is signed for: its digest differs")
        _finish(digest)

    def _show(self, digest: str, done: int, size: int) -> None:
        now_s = time.monotonic()
        if now_s - self._shown_s >= PROGRESS_INTERVAL_S or done == size:
            self._shown_s = now_s
            report({"progress": {"sha256": digest, "done": done, "size_bytes": size}})


def check_room(needed: int) -> None:
    """Raises ResourceExhausted: the present directory has not so many bytes, and some to spare."""
    found = os.statvfs(".")
    free = found.f_bavail * found.f_frsize
    if free < needed + MARGIN_BYTES:
        raise ResourceExhausted(
            f"the release needs {needed:,} bytes more, the state partition has {free:,} free"
        )


def tidy(wanted: set[str]) -> None:
    """Remove what is none of *wanted*, whole or not."""
    for name in os.listdir("."):
        if name.removesuffix(PART) not in wanted and not name.startswith(KEEP):
            _remove(name)


def missing_bytes(name: str, size: int) -> int:
    """What is still to come of *name*, as far as sizes tell."""
    for path in (name, name + PART):
        try:
            return max(0, size - os.stat(path).st_size)
        except FileNotFoundError:
            continue
    return size


def is_whole(name: str, size: int) -> bool:
    """Whether *name* is there with all of its bytes and their digest."""
    try:
        return os.stat(name).st_size == size and digest_of(name) == name
    except FileNotFoundError:
        return False


def digest_of(name: str) -> str:
    """The SHA-256 of a file."""
    hashed = sha256()
    with open(name, "rb") as stream:
        while data := stream.read(READ_BYTES):
            hashed.update(data)
    return hashed.hexdigest()


def _remove(name: str) -> None:
    try:
        os.unlink(name)
    except (FileNotFoundError, IsADirectoryError):
        pass


def _finish(digest: str) -> None:
    descriptor = os.open(digest + PART, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(digest + PART, digest)
    atomic_file.sync_directory(Path())
