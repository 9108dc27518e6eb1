"""Hashes of files and trees by content: never by dates or by where they are."""

import hashlib
import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from orlop.lib.errors import InvalidArgument

IGNORED_IN_INPUTS = frozenset({"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"})


def hash_input(path: Path) -> str:
    """The SHA-256 of a file or tree by names, kinds, executable bits, link targets and bytes.

    That is what version control keeps, so two checkouts of one commit are the same.

    Raises:
        InvalidArgument: *path* does not exist or holds something else than files, directories
            and links.
    """
    if not path.exists():
        raise InvalidArgument(f"{path} does not exist")
    digest = hashlib.sha256()
    for name, entry in _entries(path, IGNORED_IN_INPUTS):
        mode = entry.lstat().st_mode
        if stat.S_ISREG(mode):
            kind = "program" if mode & 0o111 else "file"
        elif stat.S_ISLNK(mode) or stat.S_ISDIR(mode):
            kind = stat.filemode(mode)[0]
        else:
            raise InvalidArgument(f"{entry} is neither a file, a directory nor a link")
        digest.update(_line(name, kind, _content(entry, mode)))
    return digest.hexdigest()


def hash_result(path: Path) -> str:
    """As `hash_input`, for what a step made: permissions, owners and device numbers count too."""
    digest = hashlib.sha256()
    for name, entry in _entries(path, ()):
        status = entry.lstat()
        kind = f"{status.st_mode:o} {status.st_uid}:{status.st_gid} {status.st_rdev}"
        digest.update(_line(name, kind, _content(entry, status.st_mode)))
    return digest.hexdigest()


def _line(name: str, kind: str, content: str) -> bytes:
    return f"{name}\0{kind}\0{content}\0".encode(errors="surrogateescape")


def _content(entry: Path, mode: int) -> str:
    if stat.S_ISLNK(mode):
        return os.readlink(entry)
    if not stat.S_ISREG(mode):
        return ""
    with entry.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _entries(path: Path, ignored: Collection[str]) -> Iterator[tuple[str, Path]]:
    yield "", path
    if not path.is_dir():
        return
    for directory, directories, files in os.walk(path):
        links = {name for name in directories if os.path.islink(os.path.join(directory, name))}
        directories[:] = sorted(set(directories) - set(ignored) - links)
        for name in sorted([*directories, *files, *links]):
            entry = Path(directory, name)
            yield str(entry.relative_to(path)), entry
