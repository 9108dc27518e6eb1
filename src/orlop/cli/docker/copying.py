"""Where `cp` puts things, and unpacking what a container gives.

The rules are those of `cp -a`: into a folder that exists, by the name of what does not.
"""

from __future__ import annotations

import os
from binascii import a2b_base64

from orlop.cli.docker.failure import Failure
from orlop.cli.json_text import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from tarfile import TarInfo

STAT_HEADER = "x-docker-container-path-stat"
FOLDER_BIT = 1 << 31
LINK_BIT = 1 << 27
"""Go's bits of a file mode, in which the engine tells it."""
READ_BYTES = 64 << 10


class Stat:
    """What is at a path in a container."""

    __slots__ = ("is_folder", "is_link", "link")

    def __init__(self, mode: int, link: str) -> None:
        self.is_folder = bool(mode & FOLDER_BIT)
        self.is_link = bool(mode & LINK_BIT)
        self.link = link


def read_stat(headers: Mapping[str, str]) -> Stat:
    """The engine's header about the path.

    Raises:
        Failure: it is missing or wrong.
    """
    try:
        value = decode(a2b_base64(headers.get(STAT_HEADER, "")))
    except ValueError as error:
        raise Failure(f"unable to decode container path stat header: {error}") from None
    if not isinstance(value, dict):
        raise Failure("unable to decode container path stat header: no object")
    mode = value.get("mode")
    return Stat(mode if isinstance(mode, int) else 0, str(value.get("linkTarget") or ""))


def check_parent(target: str) -> None:
    """The folder that *target* is to be in must be there.

    Raises:
        Failure: docker's text.
    """
    parent = os.path.dirname(target.rstrip("/"))
    if not os.path.isdir(parent or "/"):
        raise Failure(f'invalid output path: directory "{parent}" does not exist')


def place(target: str, *, exists: bool, is_folder: bool, source_is_folder: bool) -> tuple[str, str]:
    """The folder to unpack in, and the name of the source there; empty for its own.

    Raises:
        Failure: a folder would replace a file, or the folder to copy into is not there.
    """
    if exists and is_folder:
        return target, ""
    if exists and source_is_folder:
        raise Failure("cannot copy directory")
    if not exists and not source_is_folder and target.endswith(("/", "/.")):
        raise Failure("no such directory")
    plain = target.removesuffix("/.").rstrip("/")
    return os.path.dirname(plain) or "/", os.path.basename(plain)


def archive_of(path: str, name: str, *, keep_owner: bool) -> Iterator[bytes]:
    """A tar of *path* by *name*; of what is in it if the name is empty."""
    from orlop.cli.docker.archive import END, Archive

    archive = Archive()
    yield from archive.tree(path, name)
    yield END


class _Reader:
    """*parts* as a file."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)
        self._buffer = b""

    def read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            part = next(self._parts, b"")
            if not part:
                break
            self._buffer += part
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data


def unpack(
    parts: Iterable[bytes], directory: str, *, rename: tuple[str, str], keep_owner: bool
) -> None:
    """Unpack a tar in *directory*, its root *rename*[0] as *rename*[1].

    The archive is the container's word: nothing outside of *directory* is written, whatever names
    and links it holds.

    Raises:
        Failure: it names what is outside, or cannot be unpacked.
    """
    import tarfile

    def check(member: TarInfo, _: str) -> TarInfo | None:
        name = _renamed(member.name, *rename)
        if not name or name == ".":
            return None
        _check_inside(directory, name)
        changes: dict[str, object] = {"name": name}
        if member.islnk():
            link = _renamed(member.linkname, *rename)
            _check_inside(directory, link)
            changes["linkname"] = link
        if not keep_owner:
            changes |= {"uid": os.getuid(), "gid": os.getgid(), "uname": "", "gname": ""}
        target = os.path.join(directory, name)
        if os.path.isdir(target) and not os.path.islink(target) and not member.isdir():
            raise Failure(f'cannot overwrite directory "{target}" with non-directory')
        return member.replace(**changes, deep=False)  # type: ignore[arg-type]

    try:
        with tarfile.open(fileobj=_Reader(parts), mode="r|", bufsize=READ_BYTES) as archive:  # type: ignore[call-overload]
            archive.extractall(directory, numeric_owner=True, filter=check)
    except (tarfile.TarError, OSError) as error:
        raise Failure(f"cannot unpack the archive: {error}") from None


def _renamed(name: str, old: str, new: str) -> str:
    name = os.path.normpath(name.lstrip("/"))
    if old == ".":
        return name if new in (".", "") else os.path.normpath(os.path.join(new, name))
    first, slash, rest = name.partition("/")
    return new + slash + rest if first == old else name


def _check_inside(directory: str, name: str) -> None:
    root = os.path.realpath(directory)
    parent = os.path.realpath(os.path.join(root, os.path.dirname(name)))
    is_inside = parent == root or parent.startswith(root.rstrip("/") + "/")
    if not is_inside or name.startswith("../") or name == "..":
        raise Failure(f"the archive names {name!r}, which is outside of {directory}")
