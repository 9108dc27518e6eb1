"""Writes the archive that becomes a layer: files at their place in the image. In a worker.

A path is followed through the links that the image below has, as the kernel would when the file
were written there; directories on the way are repeated as they are, or made.
"""

from __future__ import annotations

import os
import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.engine.build.trees import Tree, resolve
from orlop.lib.errors import InvalidArgument
from orlop.wire import tar
from orlop.wire.tar import BLOCK, Header, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

WHITEOUT = ".wh."
BUFFER_BYTES = 1 << 20


class LayerWriter:
    """One archive, written to *write* from the beginning to `finish`."""

    def __init__(
        self, below: Tree, write: Callable[[bytes], None], owner: tuple[int, int], time_ns: int
    ) -> None:
        """*owner* and *time_ns* are for directories that have to be made."""
        self._below = below
        self._write = write
        self._owner = owner
        self._time_ns = time_ns
        self._directories: set[str] = set()
        self._made: dict[str, Kind] = {}
        self._links: set[str] = set()
        self._buffer = bytearray()

    def place(self, path: str) -> str:
        """Where *path* is once links are followed, those of its last name included."""
        return resolve(self._below, path)

    def is_directory(self, path: str) -> bool:
        """Whether there is a directory at *path*, links followed, in what is below."""
        header = self._below.lstat(self.place(path))
        return header is not None and header.kind is Kind.DIRECTORY

    def make_directories(self, path: str) -> str:
        """Have *path* be a directory; where it really is.

        Raises:
            InvalidArgument: something else is there.
        """
        real = self.place(path)
        self._ensure(real)
        return real

    def add(self, path: str, header: Header, chunks: Iterable[bytes] = (), link: str = "") -> None:
        """A file at *path*; *link* is the other name of a hard link, as it was given before."""
        directory, name = posixpath.split(path)
        if name.startswith(WHITEOUT):
            raise InvalidArgument(f"{path}: names that begin with {WHITEOUT} cannot be in a layer")
        above = self._above(directory)
        real = f"{above}/{name}" if above else name
        if header.kind is Kind.DIRECTORY:
            self._add_directory(real, header)
            return
        if not name:
            raise InvalidArgument("cannot copy to the root directory itself")
        self._made[real] = header.kind
        if header.kind is Kind.SYMLINK:
            self._links.add(real)
        if link:
            header = replace(header, kind=Kind.HARDLINK, size=0, link=os.fsencode(link), xattrs={})
        self._put(replace(header, name=os.fsencode(real), real_size=header.size, sparse=None))
        if header.kind is Kind.FILE:
            self._content(chunks, header.size, path)

    def real_path(self, path: str) -> str:
        """What `add` calls *path* in the archive."""
        directory, name = posixpath.split(path)
        above = self._above(directory)
        return f"{above}/{name}" if above else name

    def _above(self, directory: str) -> str:
        above = directory
        while above and self._links:
            if above in self._links:
                # This archive itself brought a link there: who reads it follows that.
                return directory
            above = above.rpartition("/")[0]
        real = self.place(directory)
        self._ensure(real)
        return real

    def _add_directory(self, real: str, header: Header) -> None:
        below = self._below.lstat(real)
        if below is not None and below.kind is Kind.SYMLINK:
            # A directory merges with the one that a link in the image leads to.
            target = self._below.lstat(self.place(real))
            if target is not None and target.kind is Kind.DIRECTORY:
                self._ensure(self.place(real))
                return
        self._directories.add(real)
        self._put(replace(header, name=os.fsencode(f"{real}/") if real else b"./"))

    def _ensure(self, path: str) -> None:
        parts = path.split("/") if path else []
        for count in range(1, len(parts) + 1):
            here = "/".join(parts[:count])
            if here in self._directories:
                continue
            if here in self._made and self._made[here] is not Kind.SYMLINK:
                raise InvalidArgument(f"cannot create directory {here}: not a directory")
            found = self._below.lstat(here)
            if found is not None and found.kind is not Kind.DIRECTORY:
                raise InvalidArgument(f"cannot create directory {here}: not a directory")
            if found is None:
                uid, gid = self._owner
                found = Header(
                    name=b"",
                    kind=Kind.DIRECTORY,
                    mode=0o755,
                    uid=uid,
                    gid=gid,
                    mtime_ns=self._time_ns,
                )
            self._directories.add(here)
            self._put(replace(found, name=os.fsencode(f"{here}/")))

    def _put(self, header: Header) -> None:
        self._send(tar.encode(header))

    def _content(self, chunks: Iterable[bytes], size: int, path: str) -> None:
        written = 0
        for data in chunks:
            written += len(data)
            if written > size:
                break
            self._send(data)
        if written != size:
            raise InvalidArgument(f"{path}: the file changed while it was read")
        self._send(bytes(-size % BLOCK))

    def _send(self, data: bytes) -> None:
        if len(data) >= BUFFER_BYTES:
            self._flush()
            self._write(data)
            return
        self._buffer += data
        if len(self._buffer) >= BUFFER_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._buffer:
            self._write(bytes(self._buffer))
            self._buffer.clear()

    def finish(self) -> None:
        """The archive is complete."""
        self._send(tar.END)
        self._flush()
