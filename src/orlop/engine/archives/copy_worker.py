"""The worker that fills a new volume: `worker copy ROOT PATH DESTINATION`.

Copies what directory PATH of the root ROOT holds into the directory DESTINATION, with owners,
modes, times, extended attributes, hard links, holes and device nodes, and gives DESTINATION the
owner and mode of PATH. No link is followed. The tree is an image's, so it may be anything: depth is
bounded, and the process keeps no privilege but over files. Exit status 0 also when PATH is no
directory: then there is nothing to copy. What went wrong is one line on standard error.
Standard input may be a user namespace: then owners are as they are there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from typing import TYPE_CHECKING

from orlop.lib import file_clone
from orlop.lib.file_worker import confine, enter_userns, is_userns, open_regular
from orlop.lib.linux import LIBC, open_in_root

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH = 400
MAX_LINKED = 3000
"""Files with several names that are remembered; beyond that a name becomes a file of its own."""

CHUNK_BYTES = 64 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def main(argv: list[str]) -> int:
    """Copy; 1 when it could not be done wholly."""
    root, path, destination = argv
    try:
        try:
            source_fd = open_in_root(root, path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            if error.errno in _ABSENT:
                return 0
            raise
        target_fd = os.open(destination, _DIRECTORY)
        if is_userns(0):
            enter_userns(0)
        confine()
        _Copy().directory(source_fd, target_fd, 0)
        LIBC.syncfs(target_fd)
    except OSError as error:
        print(f"{error.filename or path}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


class _Copy:
    """One tree; remembers files with several names."""

    def __init__(self) -> None:
        self._links: dict[tuple[int, int], tuple[int, str]] = {}
        self._kept_fds: list[int] = []

    def directory(self, source_fd: int, target_fd: int, depth: int) -> None:
        """Copy the entries of one directory, then what is known about itself."""
        if depth > MAX_DEPTH:
            raise OSError(errno.ENAMETOOLONG, "directories are nested too deeply")
        with os.scandir(source_fd) as entries:
            names = [entry.name for entry in entries]
        for name in names:
            status = os.stat(name, dir_fd=source_fd, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                self._subdirectory(source_fd, target_fd, name, depth)
            else:
                # Only where an earlier filling was interrupted is anything there.
                with contextlib.suppress(FileExistsError):
                    self._entry(source_fd, target_fd, name, status)
        status = os.fstat(source_fd)
        os.fchown(target_fd, status.st_uid, status.st_gid)
        os.fchmod(target_fd, stat.S_IMODE(status.st_mode))
        copy_xattrs(f"/proc/self/fd/{source_fd}/.", f"/proc/self/fd/{target_fd}/.")
        os.utime(target_fd, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _subdirectory(self, source_fd: int, target_fd: int, name: str, depth: int) -> None:
        below_fd = os.open(name, _DIRECTORY, dir_fd=source_fd)
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=target_fd)
            new_fd = os.open(name, _DIRECTORY, dir_fd=target_fd)
            try:
                self.directory(below_fd, new_fd, depth + 1)
            finally:
                os.close(new_fd)
        finally:
            os.close(below_fd)

    def _entry(self, source_fd: int, target_fd: int, name: str, status: os.stat_result) -> None:
        key = (status.st_dev, status.st_ino)
        known = self._links.get(key)
        if known is not None:
            os.link(known[1], name, src_dir_fd=known[0], dst_dir_fd=target_fd)
            return
        if stat.S_ISREG(status.st_mode):
            copy_file(source_fd, target_fd, name)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=source_fd), name, dir_fd=target_fd)
        else:
            # A node in a volume is usable only where the device cgroup allows its number.
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target_fd)
        with removed_on_error(target_fd, name):
            os.chown(name, status.st_uid, status.st_gid, dir_fd=target_fd, follow_symlinks=False)
            if not stat.S_ISLNK(status.st_mode):
                os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target_fd)
            copy_xattrs(f"/proc/self/fd/{source_fd}/{name}", f"/proc/self/fd/{target_fd}/{name}")
            times = (status.st_atime_ns, status.st_mtime_ns)
            os.utime(name, ns=times, dir_fd=target_fd, follow_symlinks=False)
        if status.st_nlink > 1:
            kept = os.dup(target_fd) if len(self._kept_fds) < MAX_LINKED else -1
            if kept >= 0:
                self._kept_fds.append(kept)
                self._links[key] = (kept, name)


@contextlib.contextmanager
def removed_on_error(directory: int, name: str) -> Iterator[None]:
    """What is half made, on a full disk for one, goes: the next filling leaves what is there."""
    try:
        yield
    except OSError:
        os.unlink(name, dir_fd=directory)
        raise


def copy_file(source_fd: int, target_fd: int, name: str) -> None:
    """The content of a regular file, its holes kept."""
    reading = open_regular(name, source_fd)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        writing = os.open(name, flags, 0o600, dir_fd=target_fd)
        try:
            with removed_on_error(target_fd, name):
                _copy_content(reading, writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _copy_content(reading: int, writing: int) -> None:
    with contextlib.suppress(OSError):
        file_clone.clone(reading, writing)
        return
    size, position = os.fstat(reading).st_size, 0
    while position < size:
        try:
            start = os.lseek(reading, position, os.SEEK_DATA)
            end = os.lseek(reading, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break
        while start < end:
            os.lseek(writing, start, os.SEEK_SET)
            copied = os.sendfile(writing, reading, start, min(end - start, CHUNK_BYTES))
            if not copied:
                break
            start += copied
        position = end
    os.ftruncate(writing, size)


def copy_xattrs(source: str, target: str) -> None:
    """Extended attributes that the other file system can hold."""
    try:
        names = os.listxattr(source, follow_symlinks=False)
    except OSError:
        return
    for name in names:
        try:
            value = os.getxattr(source, name, follow_symlinks=False)
            os.setxattr(target, name, value, follow_symlinks=False)
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.ENODATA, errno.EINVAL):
                raise


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
