"""A build context as it came: a tar and an index of it, never unpacked.

In a worker. A name in an archive cannot lead anywhere, because no file of it is ever made: what
COPY takes is moved from the archive into the archive that becomes the layer.
"""

from __future__ import annotations

import json
import os
import posixpath
from typing import TYPE_CHECKING, Any

from orlop.engine.build.trees import READ_BYTES
from orlop.engine.store.spool import sha256
from orlop.engine.store.tar_reader import entries
from orlop.lib.errors import InvalidArgument, ResourceExhausted
from orlop.wire.tar import Header, Kind, TarError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from orlop.engine.store.tar_reader import Source
    from orlop.wire.dockerfile.ignore import IgnoreRules

MAX_ENTRIES = 500_000
MAX_PATH = 4096


class ContextTree:
    """Files by path. *descriptor* is the uncompressed archive."""

    def __init__(self, descriptor: int, files: Mapping[str, list[Any]]) -> None:
        """*files*: path -> kind, mode, size, mtime_ns, link, data position, digest, sparse map."""
        self._descriptor = descriptor
        self._files = files
        self._names: dict[str, set[str]] = {}
        for path in files:
            # Directories on the way up may have no entry of their own.
            here = path
            while here:
                above, _, name = here.rpartition("/")
                known = self._names.setdefault(above, set())
                if name in known:
                    break
                known.add(name)
                here = above

    def lstat(self, path: str) -> Header | None:
        entry = self._files.get(path)
        if entry is None:
            if path in self._names or not path:
                return Header(name=b"", kind=Kind.DIRECTORY, mode=0o755)
            return None
        kind, mode, size, mtime_ns, link = entry[:5]
        return Header(
            name=b"",
            kind=Kind(kind),
            mode=mode,
            size=size,
            mtime_ns=mtime_ns,
            link=os.fsencode(link),
        )

    def names(self, path: str) -> list[str]:
        return sorted(self._names.get(path, ()))

    def chunks(self, path: str) -> Iterator[bytes]:
        _, _, size, _, _, at, _, sparse = self._files[path]
        if sparse is None:
            yield from self._read(at, size)
            return
        position = 0
        for offset, length in sparse:
            yield from _zeroes(offset - position)
            yield from self._read(at, length)
            at += length
            position = offset + length
        yield from _zeroes(size - position)

    def _read(self, at: int, size: int) -> Iterator[bytes]:
        while size:
            data = os.pread(self._descriptor, min(size, READ_BYTES), at)
            if not data:
                raise TarError("unexpected EOF")
            yield data
            at += len(data)
            size -= len(data)

    def digest(self, path: str) -> str:
        return str(self._files[path][6])

    def inode(self, path: str) -> Hashable | None:
        return None


def _zeroes(size: int) -> Iterator[bytes]:
    while size > 0:
        yield bytes(min(size, READ_BYTES))
        size -= READ_BYTES


def read_context(source: Source) -> dict[str, list[Any]]:
    """The index of the archive in *source*: see `ContextTree`.

    Owners are not kept: files of a context belong to root. Devices and pipes are left out.

    Raises:
        TarError: it is no archive. ResourceExhausted: too many files.
    """
    files: dict[str, list[Any]] = {}
    for count, (header, at) in enumerate(entries(source)):
        if count >= MAX_ENTRIES:
            raise ResourceExhausted(f"the build context has more than {MAX_ENTRIES} files")
        path = clean_path(os.fsdecode(header.name))
        if header.kind is Kind.HARDLINK:
            target = files.get(clean_path(os.fsdecode(header.link)))
            if target is None or target[0] != Kind.FILE:
                raise TarError(f"{path!r}: a hard link to nothing")
            files[path] = target
        elif header.kind in (Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK) and path:
            files.pop(path, None)
            files[path] = [
                header.kind.value,
                header.mode,
                header.real_size if header.kind is Kind.FILE else 0,
                header.mtime_ns,
                os.fsdecode(header.link),
                at,
                _digest(source, header),
                header.sparse,
            ]
    return files


def _digest(source: Source, header: Header) -> str:
    """Of the data as it stands in the archive, with the map of a sparse file."""
    if header.kind is not Kind.FILE:
        return ""
    digest = sha256()
    if header.sparse is not None:
        digest.update(json.dumps([header.real_size, header.sparse]).encode())
    left = header.size
    while left:
        data = source.read(min(left, READ_BYTES))
        if not data:
            raise TarError("unexpected EOF")
        digest.update(data)
        left -= len(data)
    return str(digest.hexdigest())


def clean_path(name: str) -> str:
    """*name* relative to the root of an archive, which nothing leads out of.

    Raises:
        InvalidArgument: it is too long.
    """
    if len(name) > MAX_PATH or "\0" in name:
        raise InvalidArgument(f"invalid name in an archive: {name[:80]!r}")
    return posixpath.normpath(f"/{name.lstrip('/')}")[1:]


def without_ignored(files: Mapping[str, list[Any]], rules: IgnoreRules) -> dict[str, list[Any]]:
    """What `.dockerignore` leaves; a directory stays when something in it does."""
    if not rules:
        return dict(files)
    kept = {path for path in files if not rules.ignores(path)}
    needed = set()
    for path in kept:
        above = path.rpartition("/")[0]
        while above and above not in needed:
            needed.add(above)
            above = above.rpartition("/")[0]
    return {path: entry for path, entry in files.items() if path in kept or path in needed}
