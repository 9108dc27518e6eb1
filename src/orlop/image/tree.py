"""A root file system as a value: paths and what is there.

Roots are put together in memory, checked, and written in one go as a tar stream with fixed order,
owners and times (`write_tar`). A file whose content, mode and owner equal another's becomes
a hard link to it, whichever of the trees joined into one they came from, so it takes space once
on disk and once in the page cache.
"""

import io
import posixpath
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from orlop.image.blobs import BlobSet, Digest
from orlop.lib.errors import InvalidArgument

_MAXIMUM_LINKS = 40  # as the kernel's MAXSYMLINKS


@dataclass(frozen=True, slots=True)
class File:
    """A regular file. `origin` says which component it came from, for manifest and sizes."""

    digest: Digest
    size_bytes: int
    mode: int
    origin: str
    uid: int = 0


@dataclass(frozen=True, slots=True)
class Symlink:
    target: str
    origin: str


@dataclass(frozen=True, slots=True)
class Directory:
    mode: int = 0o755
    uid: int = 0


type Node = File | Symlink | Directory


@dataclass(slots=True)
class Tree:
    """Absolute paths to nodes. Parents are made as needed; a path is never two things."""

    nodes: dict[str, Node] = field(default_factory=lambda: {"/": Directory()})

    def add(self, path: str, node: Node) -> None:
        """Put *node* at *path*, below the real directories that the path leads to.

        Adding the same node twice is fine.

        Raises:
            InvalidArgument: something else is there already, or a parent is a file.
        """
        place = self.real_parent(path)
        present = self.nodes.get(place)
        if present is not None and present != node:
            if isinstance(present, Directory) and isinstance(node, Directory):
                self.nodes[place] = node
                return
            if (
                isinstance(present, File)
                and isinstance(node, File)
                and replace(present, origin="") == replace(node, origin="")
            ):
                return
            raise InvalidArgument(
                f"{place}: {_describe(node)} would replace {_describe(present)}",
                hint="two sources give the same path; drop one from `files` or use `exclude`",
            )
        self._make_parents(place)
        self.nodes[place] = node

    def replace(self, path: str, node: Node) -> None:
        """As `add`, whatever was there before."""
        place = self.real_parent(path)
        self._make_parents(place)
        self.nodes[place] = node

    def real_parent(self, path: str) -> str:
        """*path* with the links in its directory part followed, the last part left alone."""
        parent, name = posixpath.split(path)
        return posixpath.join(self.resolve(parent), name) if name else "/"

    def resolve(self, path: str) -> str:
        """*path* with all links followed; what does not exist is returned as it is.

        Raises:
            InvalidArgument: links go round in circles.
        """
        done, rest, links = "/", [part for part in path.split("/") if part], 0
        while rest:
            part = rest.pop(0)
            if part in (".", ".."):
                done = posixpath.dirname(done) if part == ".." else done
                continue
            step = posixpath.join(done, part)
            node = self.nodes.get(step)
            if not isinstance(node, Symlink):
                done = step
                continue
            links += 1
            if links > _MAXIMUM_LINKS:
                raise InvalidArgument(f"{path}: too many links")
            rest[:0] = [piece for piece in node.target.split("/") if piece]
            done = "/" if node.target.startswith("/") else done
        return done

    def get(self, path: str) -> Node | None:
        """What *path* leads to, links followed."""
        return self.nodes.get(self.resolve(path))

    def graft(self, other: Mapping[str, Node], prefix: str) -> None:
        """Add all nodes of *other* below *prefix*."""
        for path, node in sorted(other.items()):
            self.add(prefix if path == "/" else prefix + path, node)

    def files(self) -> Iterator[tuple[str, File]]:
        for path, node in sorted(self.nodes.items()):
            if isinstance(node, File):
                yield path, node

    def _make_parents(self, path: str) -> None:
        parent = posixpath.dirname(path)
        while parent not in self.nodes:
            self.nodes[parent] = Directory()
            parent = posixpath.dirname(parent)
        if not isinstance(self.nodes[parent], Directory):
            raise InvalidArgument(f"{path}: {parent} is {_describe(self.nodes[parent])}")


def write_tar(tree: Tree, blobs: BlobSet, output: BinaryIO) -> None:
    """Write *tree* as a tar stream: sorted, times 0, equal files as hard links."""
    first: dict[tuple[Digest, int, int], str] = {}
    with tarfile.open(fileobj=output, mode="w|", format=tarfile.GNU_FORMAT) as archive:
        for path, node in sorted(tree.nodes.items()):
            member = tarfile.TarInfo(path.lstrip("/") or ".")
            match node:
                case Directory(mode, uid):
                    member.type, member.mode = tarfile.DIRTYPE, mode
                    member.uid = member.gid = uid
                    archive.addfile(member)
                case Symlink(target):
                    member.type, member.mode, member.linkname = tarfile.SYMTYPE, 0o777, target
                    archive.addfile(member)
                case File(digest, size_bytes, mode, uid=uid):
                    member.mode, member.uid, member.gid = mode, uid, uid
                    original = first.setdefault((digest, mode, uid), path)
                    if original != path:
                        member.type, member.linkname = tarfile.LNKTYPE, original.lstrip("/")
                        archive.addfile(member)
                    else:
                        member.size = size_bytes
                        archive.addfile(member, io.BytesIO(blobs.read(digest)))


def _describe(node: Node) -> str:
    match node:
        case File(origin=origin):
            return f"a file of {origin}"
        case Symlink(target, origin):
            return f"a link to {target} of {origin}"
        case Directory():
            return "a directory"
