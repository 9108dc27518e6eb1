"""File trees that COPY reads: a directory open as a descriptor, or nothing at all.

In a worker. Paths are relative to the tree's root, without a leading slash, empty for the root
itself. Links are followed here, never by the kernel, and never out of the tree.
"""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from orlop.engine.store.spool import sha256
from orlop.lib.errors import InvalidArgument
from orlop.wire.tar import Header, Kind

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

READ_BYTES = 1 << 20
MAX_LINKS = 40
"""As many as the kernel follows on one path."""

_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHAR,
    stat.S_IFBLK: Kind.BLOCK_DEVICE,
    stat.S_IFIFO: Kind.FIFO,
}
CAPABILITY = b"security.capability"


class Tree(Protocol):
    """What a source or destination can tell."""

    def lstat(self, path: str) -> Header | None:
        """What is at *path*, whose directories are no links; None: nothing."""

    def names(self, path: str) -> list[str]:
        """The names in the directory *path*, sorted."""

    def chunks(self, path: str) -> Iterator[bytes]:
        """The content of the file *path*."""

    def digest(self, path: str) -> str:
        """SHA-256 of the content of the file *path*."""

    def inode(self, path: str) -> Hashable | None:
        """What several names of one file have in common; None for a file of one name."""


class EmptyTree:
    """`scratch`: a root directory with nothing in it."""

    def lstat(self, path: str) -> Header | None:
        return None if path else Header(name=b"", kind=Kind.DIRECTORY, mode=0o755)

    def names(self, path: str) -> list[str]:
        return []

    def chunks(self, path: str) -> Iterator[bytes]:
        raise InvalidArgument(f"stat {path}: file does not exist")

    def digest(self, path: str) -> str:
        raise InvalidArgument(f"stat {path}: file does not exist")

    def inode(self, path: str) -> Hashable | None:
        return None


class DirectoryTree:
    """The tree below the directory open as *root*, on which nobody changes anything meanwhile."""

    def __init__(self, root: int) -> None:
        self._root = root

    def lstat(self, path: str) -> Header | None:
        try:
            status = os.lstat(path or ".", dir_fd=self._root)
        except (FileNotFoundError, NotADirectoryError):
            return None
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return None
        header = Header(
            name=b"",
            kind=kind,
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            size=status.st_size if kind is Kind.FILE else 0,
            mtime_ns=status.st_mtime_ns,
        )
        if kind is Kind.SYMLINK:
            link = os.fsencode(os.readlink(path, dir_fd=self._root))
            return replace(header, link=link, mode=0o777)
        if kind in (Kind.CHAR, Kind.BLOCK_DEVICE):
            device = (os.major(status.st_rdev), os.minor(status.st_rdev))
            return replace(header, device=device)
        if kind is Kind.FILE:
            return replace(header, xattrs=self._xattrs(path))
        return header

    def _xattrs(self, path: str) -> dict[bytes, bytes]:
        """The file's capabilities, which is what dockerd copies too."""
        descriptor = self._open(path)
        try:
            return {CAPABILITY: os.getxattr(descriptor, CAPABILITY)}
        except OSError:
            return {}
        finally:
            os.close(descriptor)

    def _open(self, path: str, flags: int = 0) -> int:
        return os.open(
            path or ".",
            os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | flags,
            dir_fd=self._root,
        )

    def names(self, path: str) -> list[str]:
        descriptor = self._open(path, os.O_DIRECTORY)
        try:
            return sorted(os.listdir(descriptor))
        finally:
            os.close(descriptor)

    def chunks(self, path: str) -> Iterator[bytes]:
        descriptor = self._open(path)
        try:
            while data := os.read(descriptor, READ_BYTES):
                yield data
        finally:
            os.close(descriptor)

    def digest(self, path: str) -> str:
        digest = sha256()
        for data in self.chunks(path):
            digest.update(data)
        return str(digest.hexdigest())

    def inode(self, path: str) -> Hashable | None:
        status = os.lstat(path, dir_fd=self._root)
        return (status.st_dev, status.st_ino) if status.st_nlink > 1 else None


def resolve(tree: Tree, path: str) -> str:
    """*path* without links, `.` and `..`; what does not exist is kept as it is written.

    Raises:
        InvalidArgument: links without end, or a name below what is no directory.
    """
    found: list[str] = []
    left = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    links = 0
    while left:
        name = left.pop()
        if name == "..":
            del found[-1:]
            continue
        here = "/".join([*found, name])
        header = tree.lstat(here)
        if header is not None and header.kind is Kind.SYMLINK:
            links += 1
            if links > MAX_LINKS:
                raise InvalidArgument(f"{path}: too many levels of symbolic links")
            target = os.fsdecode(header.link)
            if target.startswith("/"):
                found = []
            left += [part for part in reversed(target.split("/")) if part not in ("", ".")]
            continue
        if left and header is not None and header.kind is not Kind.DIRECTORY:
            raise InvalidArgument(f"{path}: not a directory")
        found.append(name)
    return "/".join(found)
