"""Writes a tree as a tar archive, for workers. File content goes from the kernel to the kernel."""

from __future__ import annotations

import contextlib
import os
import stat
import tarfile
from typing import TYPE_CHECKING

from orlop.lib.file_worker import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES = 1 << 20
_CAPABILITY = "security.capability"


def write_tree(output: int, path: str, name: str) -> None:
    """Write *path* and all below it to descriptor *output*, called *name* in the archive.

    As dockerd names things: what is in `/` is called `/etc`, not `//etc`. Sockets are left out.
    A file that changes meanwhile has the size it had when it was looked at.

    Raises:
        OSError: something cannot be read, or nobody reads the output.
    """
    prefix = "/" if name == "/" else f"{name}/"
    links: dict[tuple[int, int], str] = {}
    top = os.lstat(path)
    _write_entry(output, path, "" if name == "/" else name, top, links)
    if stat.S_ISDIR(top.st_mode):
        for below, relative in _walk(path):
            try:
                status = os.lstat(below)
                _write_entry(output, below, prefix + relative, status, links)
            except FileNotFoundError:
                continue  # removed meanwhile
    _write_all(output, bytes(2 * tarfile.BLOCKSIZE))


def _walk(top: str) -> Iterator[tuple[str, str]]:
    """Every path below *top* and its name relative to it, parents first, no link followed."""
    pending = [("", top)]
    while pending:
        relative, directory = pending.pop()
        try:
            with os.scandir(directory) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        below = []
        for entry in found:
            name = f"{relative}{entry.name}"
            yield entry.path, name
            if entry.is_dir(follow_symlinks=False):
                below.append((f"{name}/", entry.path))
        pending.extend(reversed(below))


def _write_entry(
    output: int, path: str, name: str, status: os.stat_result, links: dict[tuple[int, int], str]
) -> None:
    kind = _kind(status.st_mode)
    if kind is None:
        return
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = stat.S_IMODE(status.st_mode)
    info.uid, info.gid = status.st_uid, status.st_gid
    info.mtime = status.st_mtime_ns // 1_000_000_000
    if kind == tarfile.SYMTYPE:
        info.linkname = os.readlink(path)
    elif kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
    key = (status.st_dev, status.st_ino)
    if kind == tarfile.REGTYPE and status.st_nlink > 1:
        if key in links:
            info.type, info.linkname = tarfile.LNKTYPE, links[key]
        else:
            links[key] = name
    if info.type != tarfile.REGTYPE:
        _write_head(output, info)
        return
    reading = open_regular(path)
    try:
        with contextlib.suppress(OSError):
            value = os.getxattr(reading, _CAPABILITY)
            text = value.decode("utf-8", "surrogateescape")
            info.pax_headers = {f"SCHILY.xattr.{_CAPABILITY}": text}
        info.size = os.fstat(reading).st_size
        _write_head(output, info)
        _write_content(output, reading, info.size)
    finally:
        os.close(reading)


def _kind(mode: int) -> bytes | None:
    kinds = {
        stat.S_IFREG: tarfile.REGTYPE,
        stat.S_IFDIR: tarfile.DIRTYPE,
        stat.S_IFLNK: tarfile.SYMTYPE,
        stat.S_IFIFO: tarfile.FIFOTYPE,
        stat.S_IFCHR: tarfile.CHRTYPE,
        stat.S_IFBLK: tarfile.BLKTYPE,
    }
    return kinds.get(stat.S_IFMT(mode))


def _write_head(output: int, info: tarfile.TarInfo) -> None:
    _write_all(output, info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))


def _write_content(output: int, reading: int, size: int) -> None:
    left = size
    while left:
        sent = os.sendfile(output, reading, None, min(left, CHUNK_BYTES))
        if not sent:
            break
        left -= sent
    while left:
        # Cut off meanwhile: the archive promised more.
        left -= _write_all(output, bytes(min(left, CHUNK_BYTES)))
    _write_all(output, bytes(-size % tarfile.BLOCKSIZE))


def _write_all(output: int, data: bytes) -> int:
    view = memoryview(data)
    while view:
        view = view[os.write(output, view) :]
    return len(data)
