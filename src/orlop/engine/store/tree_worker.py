"""The worker that reads a container's files: `worker tree COMMAND`, directories as descriptors.

    export    the tree at descriptor 3 as a tar
    diff      the same of an overlay's upper directory, whiteouts as a layer has them
    changes   a JSON object for each change: upper directory 3 against the tree below it, 4

Two more arguments, if there are any, are the first number and the count of the host's users that
those of the container are.

The answer is on descriptor 1. The trees are whatever a container made of them: no link is followed,
depth costs nothing, sockets are left out, and the process keeps no right but those over files. What
dockerd writes is written: names without a leading slash, whole seconds, capabilities and attributes
of users; a file that changes meanwhile has the size it had when it was looked at.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
from typing import TYPE_CHECKING

from orlop.lib.file_worker import CAP_SYS_ADMIN, confine, open_regular
from orlop.wire import tar
from orlop.wire.tar import BLOCK, Header, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

TREE, LOWER = 3, 4
BUFFER_BYTES = 1 << 20
MAX_LINKS = 200_000
"""Files with several names that are remembered; one beyond becomes a file of its own."""

MAX_CHANGES = 1_000_000
"""That are told of, sorted: some 200 MB here."""

MAX_OPEN = 1000
"""Directories held open at once, one for each level."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPAQUE = "trusted.overlay.opaque"
_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHAR,
    stat.S_IFBLK: Kind.BLOCK_DEVICE,
    stat.S_IFIFO: Kind.FIFO,
}
MODIFIED, ADDED, DELETED = 0, 1, 2

STUBS = frozenset(
    {"dev", "proc", "sys", "etc/hostname", "etc/hosts", "etc/resolv.conf", ".dockerenv"}
)
"""What a start makes in the root so that something can be mounted there: no work of the container's
as long as it is empty."""


class _Owners:
    """Numbers of users and groups in the container's namespace, for a tree with the host's."""

    first = 0
    count = 1 << 32

    def inside(self, number: int) -> int:
        """What *number* is there; one that is nobody's stays."""
        return number - self.first if 0 <= number - self.first < self.count else number


owners = _Owners()


def main(argv: list[str]) -> int:
    """Run one command; 1 when something could not be read or written."""
    try:
        # Opaque directories are told by an attribute of overlayfs's own.
        confine(CAP_SYS_ADMIN)
        command, *numbers = argv
        if numbers:
            owners.first, owners.count = map(int, numbers)
        match [command]:
            case ["export"]:
                _Writer(layer=False).write()
            case ["diff"]:
                _Writer(layer=True).write()
            case ["changes"]:
                _report_changes()
            case _:
                return 2
    except BrokenPipeError:
        return 1
    except OSError as error:
        print(f"{error.filename or 'tree'}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def walk(top: int) -> Iterator[tuple[int, str, str, os.stat_result]]:
    """Everything below directory *top*: its directory's descriptor, name, path, what it is.

    Parents first, by name. The path has no leading slash. What vanishes meanwhile is left out.
    """
    stack: list[tuple[int, str, Iterator[str]]] = [(top, "", iter(_names(top)))]
    while stack:
        directory, prefix, names = stack[-1]
        name = next(names, None)
        if name is None:
            stack.pop()
            if stack:
                os.close(directory)
            continue
        try:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            continue
        path = prefix + name
        yield directory, name, path, status
        if stat.S_ISDIR(status.st_mode):
            if len(stack) >= MAX_OPEN:
                raise OSError(errno.ENAMETOOLONG, "directories are nested too deeply", path[:200])
            try:
                below = os.open(name, _DIRECTORY, dir_fd=directory)
            except (FileNotFoundError, NotADirectoryError):
                continue
            stack.append((below, f"{path}/", iter(_names(below))))


def _names(directory: int) -> list[str]:
    with os.scandir(directory) as entries:
        return sorted((entry.name for entry in entries), key=os.fsencode)


def is_whiteout(status: os.stat_result) -> bool:
    """Whether overlayfs takes the node for a name that is gone."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_stub(directory: int, name: str, path: str, status: os.stat_result) -> bool:
    """Whether it is one of `STUBS`, and empty."""
    if path not in STUBS:
        return False
    if stat.S_ISREG(status.st_mode):
        return status.st_size == 0
    return stat.S_ISDIR(status.st_mode) and status.st_nlink == 2 and not _below(directory, name)


def _below(directory: int, name: str) -> list[str]:
    try:
        descriptor = os.open(name, _DIRECTORY, dir_fd=directory)
    except (FileNotFoundError, NotADirectoryError):
        return []  # It has vanished meanwhile, with its container perhaps.
    try:
        return _names(descriptor)
    finally:
        os.close(descriptor)


def is_opaque(directory: int, name: str) -> bool:
    """Whether overlayfs hides what is below the directory *name*."""
    return _xattr(f"/proc/self/fd/{directory}/{name}", _OPAQUE) == b"y"


class _Writer:
    """Writes one archive to descriptor 1."""

    def __init__(self, *, layer: bool) -> None:
        self._layer = layer
        self._links: dict[tuple[int, int], bytes] = {}
        self._buffer = bytearray()

    def write(self) -> None:
        for directory, name, path, status in walk(TREE):
            if self._layer and is_stub(directory, name, path, status):
                continue
            if self._layer and is_whiteout(status):
                head, slash, tail = path.rpartition("/")
                self._put(Header(name=os.fsencode(f"{head}{slash}.wh.{tail}"), mode=0o600))
                continue
            kind = _KINDS.get(stat.S_IFMT(status.st_mode))
            if kind is not None:
                self._entry(kind, directory, name, path, status)
                if self._layer and kind is Kind.DIRECTORY and is_opaque(directory, name):
                    self._put(Header(name=os.fsencode(f"{path}/.wh..wh..opq"), mode=0o600))
        self._buffer += tar.END
        self._flush()

    def _entry(
        self, kind: Kind, directory: int, name: str, path: str, status: os.stat_result
    ) -> None:
        raw = os.fsencode(path)
        link, size = b"", 0
        if status.st_nlink > 1 and kind is not Kind.DIRECTORY:
            key = (status.st_dev, status.st_ino)
            known = self._links.get(key)
            if known is not None:
                kind, link = Kind.HARDLINK, known
            elif len(self._links) < MAX_LINKS:
                self._links[key] = raw
        if kind is Kind.SYMLINK:
            try:
                link = os.fsencode(os.readlink(name, dir_fd=directory))
            except OSError:
                return
        device = (0, 0)
        if kind in (Kind.CHAR, Kind.BLOCK_DEVICE):
            device = (os.major(status.st_rdev), os.minor(status.st_rdev))
        content = -1
        if kind is Kind.FILE:
            try:
                content = open_regular(name, directory)
            except FileNotFoundError:
                return
            size = os.fstat(content).st_size
        header = Header(
            name=raw + (b"/" if kind is Kind.DIRECTORY else b""),
            kind=kind,
            mode=stat.S_IMODE(status.st_mode),
            uid=owners.inside(status.st_uid),
            gid=owners.inside(status.st_gid),
            size=size,
            mtime_ns=status.st_mtime_ns // 1_000_000_000 * 1_000_000_000,
            link=link,
            device=device,
            xattrs=_xattrs(directory, name) if kind is not Kind.HARDLINK else {},
        )
        self._put(header)
        if content >= 0:
            try:
                self._content(content, size)
            finally:
                os.close(content)

    def _put(self, header: Header) -> None:
        self._buffer += tar.encode(header)
        if len(self._buffer) >= BUFFER_BYTES:
            self._flush()

    def _content(self, descriptor: int, size: int) -> None:
        left = size
        if size <= BUFFER_BYTES // 4:
            data = os.read(descriptor, size)
            self._buffer += data
            left -= len(data)
        else:
            self._flush()
            while left:
                sent = os.sendfile(1, descriptor, None, left)
                if not sent:
                    break
                left -= sent
        # Shorter than it was: the rest is zeroes, as the archive has promised its size.
        while left:
            piece = min(left, BUFFER_BYTES)
            self._buffer += bytes(piece)
            self._flush()
            left -= piece
        self._buffer += bytes(-size % BLOCK)

    def _flush(self) -> None:
        view = memoryview(bytes(self._buffer))
        self._buffer.clear()
        while view:
            view = view[os.write(1, view) :]


def _xattrs(directory: int, name: str) -> dict[bytes, bytes]:
    """Capabilities, and attributes of users."""
    path = f"/proc/self/fd/{directory}/{name}"
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return {}
    found = {}
    for key in names:
        if key == "security.capability" or key.startswith("user."):
            value = _xattr(path, key)
            if value is not None:
                found[os.fsencode(key)] = value
    return found


def _xattr(path: str, key: str) -> bytes | None:
    try:
        return os.getxattr(path, key, follow_symlinks=False)
    except OSError:
        return None


def _report_changes() -> None:
    """Compare level by level; lower directories are opened beside the upper ones."""
    found: list[tuple[str, int]] = []
    for kind, path in changes(TREE, LOWER):
        found.append((path, kind))
        if len(found) > MAX_CHANGES:
            reason = f"the container has changed more than {MAX_CHANGES} files"
            found = []
            _write_line({"error": reason, "kind": "ResourceExhausted"})
            return
    found.sort()
    for path, kind in found:
        _write_line({"Path": f"/{path}", "Kind": kind})


def _write_line(value: dict[str, object]) -> None:
    data = f"{json.dumps(value)}\n".encode("utf-8", "replace")
    while data:
        data = data[os.write(1, data) :]


def changes(upper: int, lower: int) -> Iterator[tuple[int, str]]:
    """What directory *upper* of an overlay changes in the tree *lower*: kind and path.

    A directory counts as modified when something in it is: overlayfs has copied it up then.
    """
    below: dict[str, int] = {"": lower}
    for directory, name, path, status in walk(upper):
        parent = path.rpartition("/")[0]
        # Directories that are done with: the walk never comes back to them.
        for done in [key for key in below if key and not f"{parent}/".startswith(f"{key}/")]:
            os.close(below.pop(done))
        before = _stat(below.get(parent), name)
        if is_whiteout(status):
            yield DELETED, path
            continue
        if _made_by_start(directory, name, path, status, before):
            continue
        yield ADDED if before is None else MODIFIED, path
        if before is None or not (stat.S_ISDIR(status.st_mode) and stat.S_ISDIR(before.st_mode)):
            continue
        opened = os.open(name, _DIRECTORY, dir_fd=below[parent])
        below[path] = opened
        if is_opaque(directory, name):
            for child in _names(opened):
                if _stat_below(directory, name, child) is None:
                    yield DELETED, f"{path}/{child}"


def _made_by_start(
    directory: int, name: str, path: str, status: os.stat_result, before: os.stat_result | None
) -> bool:
    """Whether it is a stub, or a directory that was only copied up to make stubs in it."""
    if before is None:
        return is_stub(directory, name, path, status)
    if path != "etc" or not stat.S_ISDIR(status.st_mode) or not stat.S_ISDIR(before.st_mode):
        return False
    uid, gid = owners.inside(status.st_uid), owners.inside(status.st_gid)
    same = (status.st_mode, uid, gid)
    if same != (before.st_mode, before.st_uid, before.st_gid):
        return False
    return all(f"{name}/{child}" in STUBS for child in _below(directory, name))


def _stat(directory: int | None, name: str) -> os.stat_result | None:
    if directory is None:
        return None
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return None


def _stat_below(directory: int, name: str, child: str) -> os.stat_result | None:
    return _stat(directory, f"{name}/{child}")
