"""What a disk has after a power cut: a model of a file system, from what was synced when.

A file system promises no more than this: what a file held when it was synced, and which names a
directory had when that was synced. Everything else may or may not have come to the disk. Three
states are made of one crash, the extremes and the one that most bugs are in:

    ALL      everything came
    NAMES    all names came, of the content only what was synced: files are old, cut off or empty
    SYNCED   nothing came but what was synced
"""

from __future__ import annotations

import os
import shutil
import stat
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tests.engine.crash.points import listing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

type Names = dict[str, list[Any]]


class Cut(StrEnum):
    """See the module."""

    ALL = "all"
    NAMES = "names"
    SYNCED = "synced"


class Disk:
    """The tree *root* from now on, when all of it is taken to be on the disk."""

    def __init__(self, root: Path, spare: Path) -> None:
        """*spare* is a directory for what files hold now."""
        self._root = root
        self._names, paths = _look(root)
        shutil.rmtree(spare, ignore_errors=True)
        spare.mkdir()
        self._content: dict[int, Path] = {}
        # Held open: a number must not be given to another file.
        self._held = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in paths.values()]
        for inode, path in paths.items():
            self._content[inode] = spare / str(inode)
            shutil.copyfile(path, self._content[inode])

    def close(self) -> None:
        for descriptor in self._held:
            os.close(descriptor)

    def cut(self, lines: Iterable[dict[str, Any]], control: Path, targets: dict[Cut, Path]) -> None:
        """Make the states in *targets*; *lines* is what the processes noted."""
        content, names = dict(self._content), dict(self._names)
        for line in lines:
            synced = line.get("synced")
            if synced and "names" in synced:
                names[synced["inode"]] = synced["names"]
            elif synced:
                content[synced["inode"]] = control / synced["content"]
        now, paths = _look(self._root)
        top = self._root.stat().st_ino
        for kind, target in targets.items():
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(mode=0o711)
            tree = _Tree(
                names if kind is Cut.SYNCED else now,
                paths if kind is Cut.ALL else content,
                {} if kind is Cut.ALL else paths,
            )
            tree.make(top, target)


class _Tree:
    """A tree to be made: *torn* has the files of which half has come."""

    def __init__(
        self, names: dict[int, Names], content: dict[int, Path], torn: dict[int, Path]
    ) -> None:
        self._names, self._content, self._torn = names, content, torn

    def make(self, inode: int, target: Path) -> None:
        for name, (child, mode, uid, gid, device, link) in self._names.get(inode, {}).items():
            path = target / name
            if stat.S_ISDIR(mode):
                path.mkdir()
                self.make(child, path)
            elif stat.S_ISLNK(mode):
                path.symlink_to(link)
            elif stat.S_ISREG(mode):
                path.write_bytes(self._bytes(child))
            elif not stat.S_ISSOCK(mode):
                os.mknod(path, mode, device)
            os.chown(path, uid, gid, follow_symlinks=False)
            if not stat.S_ISLNK(mode):
                path.chmod(stat.S_IMODE(mode))

    def _bytes(self, inode: int) -> bytes:
        if inode in self._content:
            return self._content[inode].read_bytes()
        if inode not in self._torn:
            return b""
        data = self._torn[inode].read_bytes()
        return data[: len(data) // 2]


def _look(root: Path) -> tuple[dict[int, Names], dict[int, Path]]:
    """The names of every directory, and where every file is, by inode."""
    names: dict[int, Names] = {}
    paths: dict[int, Path] = {}
    waiting = [root]
    while waiting:
        directory = waiting.pop()
        found = names[directory.stat().st_ino] = listing(os.fspath(directory))
        for name, (inode, mode, *_) in found.items():
            if stat.S_ISDIR(mode):
                waiting.append(directory / name)
            elif stat.S_ISREG(mode):
                paths[inode] = directory / name
    return names, paths
