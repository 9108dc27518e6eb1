"""Making tar archives of local files: build contexts, and what `cp` sends."""

from __future__ import annotations

import os
import stat
from tarfile import (
    AREGTYPE,
    BLKTYPE,
    CHRTYPE,
    DIRTYPE,
    FIFOTYPE,
    LNKTYPE,
    PAX_FORMAT,
    SYMTYPE,
    TarInfo,
)

from orlop.cli.docker.files import BLOCK_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK = 512
END = bytes(2 * BLOCK)
CAPABILITY = "security.capability"
_KINDS = {
    stat.S_IFDIR: DIRTYPE,
    stat.S_IFLNK: SYMTYPE,
    stat.S_IFCHR: CHRTYPE,
    stat.S_IFBLK: BLKTYPE,
    stat.S_IFIFO: FIFOTYPE,
    stat.S_IFREG: AREGTYPE,
}


class Archive:
    """Gives the tar of files, entry by entry; with *owner* None as they are, else owned by it."""

    def __init__(self, owner: int | None = None) -> None:
        self._owner = owner
        self._links: dict[tuple[int, int], str] = {}

    def tree(
        self, path: str, name: str, *, skip: Callable[[str], bool] = lambda _: False
    ) -> Iterator[bytes]:
        """*path* as *name* and all below it, in order of names; an empty name leaves *path* out.

        *skip* is asked with the path of each relative to *path*.
        """
        if name:
            yield from self.entry(path, name)
        if os.path.isdir(path) and not (name and os.path.islink(path)):
            yield from self._below(path, name, "", skip)

    def _below(
        self, directory: str, name: str, relative: str, skip: Callable[[str], bool]
    ) -> Iterator[bytes]:
        for each in sorted(os.listdir(directory)):
            path, below = os.path.join(directory, each), os.path.join(relative, each)
            is_directory = os.path.isdir(path) and not os.path.islink(path)
            if not skip(below):
                yield from self.entry(path, os.path.join(name, each))
            if is_directory:
                yield from self._below(path, os.path.join(name, each), below, skip)

    def entry(self, path: str, name: str) -> Iterator[bytes]:
        """One file; sockets are left out, for no archive can hold them."""
        status = os.lstat(path)
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return
        info = TarInfo(name + ("/" if kind == DIRTYPE else ""))
        info.type = kind
        info.mode = stat.S_IMODE(status.st_mode)
        info.mtime = int(status.st_mtime)
        info.uid = status.st_uid if self._owner is None else self._owner
        info.gid = status.st_gid if self._owner is None else self._owner
        if kind == SYMTYPE:
            info.linkname = os.readlink(path)
        elif kind in (CHRTYPE, BLKTYPE):
            info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
        elif kind == AREGTYPE:
            first = self._links.setdefault((status.st_dev, status.st_ino), name)
            if first != name:
                info.type, info.linkname = LNKTYPE, first
            else:
                yield from self._file(path, info, status.st_size)
                return
        yield info.tobuf(PAX_FORMAT, "utf-8", "surrogateescape")

    def _file(self, path: str, info: TarInfo, size: int) -> Iterator[bytes]:
        info.size = size
        headers = {}
        try:
            value = os.getxattr(path, CAPABILITY, follow_symlinks=False)
            headers[f"SCHILY.xattr.{CAPABILITY}"] = value.decode("utf-8", "surrogateescape")
        except OSError:
            pass  # it has none, as nearly all
        info.pax_headers = headers
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield info.tobuf(PAX_FORMAT, "utf-8", "surrogateescape")
            left = size
            while left:
                # A file that shrinks meanwhile is filled up: the header has promised its size.
                data = os.read(descriptor, min(left, BLOCK_BYTES)) or bytes(min(left, BLOCK_BYTES))
                left -= len(data)
                yield data
        finally:
            os.close(descriptor)
        if size % BLOCK:
            yield bytes(BLOCK - size % BLOCK)


def data_entry(name: str, data: bytes) -> bytes:
    """A file *name* with the content *data*."""
    info = TarInfo(name)
    info.mode, info.size = 0o600, len(data)
    return info.tobuf(PAX_FORMAT) + data + bytes(-len(data) % BLOCK)
