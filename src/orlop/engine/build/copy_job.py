"""COPY and ADD in a worker: look at what is to be copied, then write the layer.

`look` gives a digest of everything that the layer will hold; `write` makes it. Between the two the
engine may find that the layer is known already.
"""

from __future__ import annotations

import json
import os
import posixpath
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from orlop.engine.build import selection
from orlop.engine.build.archive_source import open_archive
from orlop.engine.build.context_tree import clean_path
from orlop.engine.build.layer_writer import LayerWriter
from orlop.engine.build.trees import resolve
from orlop.engine.runtime import users
from orlop.engine.store.spool import sha256
from orlop.engine.store.tar_reader import entries
from orlop.lib.errors import InvalidArgument
from orlop.wire.dockerfile.ignore import IgnoreRules
from orlop.wire.tar import Header, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from orlop.engine.build.selection import Item
    from orlop.engine.build.trees import Tree

MAX_ETC_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyJob:
    """What a worker is asked to do, as JSON; see `wire.dockerfile.model.Copy`."""

    keyword: str = "COPY"
    sources: tuple[str, ...] = ()
    inline: tuple[tuple[str, str], ...] = ()
    """Names and contents that stand in the Dockerfile."""
    downloads: tuple[tuple[str, int], ...] = ()
    """Names and times (seconds; 0: none) of what ADD has fetched, on descriptors from 9 on."""
    destination: str
    """Absolute; with a slash at its end it is a directory in any case."""
    chown: str = ""
    chmod: str = ""
    parents: bool = False
    exclude: tuple[str, ...] = ()
    unpack: bool | None = None
    only_directory: bool = False
    """WORKDIR: there is nothing to copy, the destination has to be a directory."""
    is_context: bool = True
    """The source is the build context: owners are root's, and errors name `.dockerignore`."""


@dataclass(slots=True)
class Copy:
    """One run of a `CopyJob` from *source* to the image whose tree is *below*."""

    job: CopyJob
    source: Tree
    below: Tree
    downloads: tuple[Tree, ...] = ()
    owner: tuple[int, int] | None = None
    items: list[tuple[Item, Tree]] = field(default_factory=list)
    into_directory: bool = False

    def look(self) -> str:
        """Choose the files; a digest of names, contents, modes and owners.

        Raises:
            InvalidArgument: a source is missing, or the destination does not fit.
        """
        job = self.job
        if job.only_directory:
            self.into_directory = True
            return ""
        if job.chown:
            self.owner = self._find_owner(job.chown)
        found = selection.find_sources(
            self.source, job.sources, is_context=job.is_context, parents=job.parents
        )
        count = len(found) + len(job.inline) + len(job.downloads)
        if not count:
            raise InvalidArgument("no source files were specified")
        self._decide_destination(count)
        chosen = selection.list_items(
            self.source,
            found,
            into_directory=self.into_directory,
            parents=job.parents,
            exclude=IgnoreRules(job.exclude),
        )
        self.items = [(self._dressed(item), self.source) for item in chosen]
        self._add_loose()
        digest = sha256()
        for item, tree in self.items:
            content = tree.digest(item.source) if item.header.kind is Kind.FILE else ""
            digest.update(json.dumps(selection.item_key(item, content)).encode())
        digest.update(json.dumps([self.job.destination, self.into_directory]).encode())
        return f"sha256:{digest.hexdigest()}"

    def needed(self) -> bool:
        """Whether there is anything to write."""
        writer = LayerWriter(self.below, _nowhere, (0, 0), 0)
        return not self.job.only_directory or not writer.is_directory(self._destination)

    def _decide_destination(self, count: int) -> None:
        job = self.job
        says_directory = job.destination.endswith("/")
        if count > 1 and not says_directory:
            raise InvalidArgument(
                f"When using {job.keyword} with more than one source file, the destination must be "
                "a directory and end with a /"
            )
        writer = LayerWriter(self.below, _nowhere, (0, 0), 0)
        self.into_directory = (
            says_directory or job.parents or writer.is_directory(self._destination)
        )

    @property
    def _destination(self) -> str:
        return posixpath.normpath(self.job.destination).strip("/")

    def _add_loose(self) -> None:
        """What comes from the Dockerfile itself or from elsewhere."""
        mode = 0o644
        for name, content in self.job.inline:
            header = Header(name=b"", mode=mode, size=len(content.encode()))
            text: Tree = TextTree(content.encode())
            item = selection.Item(name, name if self.into_directory else "", header)
            self.items.append((self._dressed(item), text))
        for (name, seconds), tree in zip(self.job.downloads, self.downloads, strict=True):
            found = tree.lstat("")
            assert found is not None
            mtime_ns = seconds * 1_000_000_000
            header = Header(name=b"", mode=0o600, size=found.size, mtime_ns=mtime_ns)
            item = selection.Item("", name if self.into_directory else "", header)
            self.items.append((self._dressed(item), tree))

    def _dressed(self, item: Item) -> Item:
        """*item* with the owner and mode it is to have."""
        header = item.header
        if self.owner is not None:
            header = replace(header, uid=self.owner[0], gid=self.owner[1])
        elif self.job.is_context:
            header = replace(header, uid=0, gid=0)
        return replace(item, header=selection.change_mode(header, self.job.chmod))

    def _find_owner(self, chown: str) -> tuple[int, int]:
        user, separator, group = chown.partition(":")
        if not user:
            raise InvalidArgument(f"invalid chown string: {chown[:80]!r}")
        passwd, groups = self._etc("etc/passwd"), self._etc("etc/group")
        try:
            found = users.resolve(user, passwd, groups)
            if separator and group:
                return found.uid, users.resolve(f"0:{group}", b"", groups).gid
        except InvalidArgument as error:
            text = "unable to convert uid/gid chown string to host mapping"
            raise InvalidArgument(f"{text}: {error}") from error
        try:
            # Alone, the name or number is that of the group as well.
            return found.uid, users.resolve(f"0:{user}", b"", groups).gid
        except InvalidArgument:
            return found.uid, found.gid

    def _etc(self, path: str) -> bytes:
        real = resolve(self.below, path)
        header = self.below.lstat(real)
        if header is None or header.kind is not Kind.FILE or header.size > MAX_ETC_BYTES:
            return b""
        return b"".join(self.below.chunks(real))

    def write(self, output: Callable[[bytes], None]) -> None:
        """Write the layer's archive."""
        writer = LayerWriter(self.below, output, self.owner or (0, 0), time.time_ns())
        base = self._begin(writer)
        names: dict[Hashable, str] = {}
        for item, tree in self.items:
            if self._is_archive(item, tree):
                self._unpack(writer, item, tree)
            elif item.target:
                self._add(writer, f"{base}/{item.target}".lstrip("/"), item, tree, names)
            elif item.header.kind is not Kind.DIRECTORY:
                self._add(writer, base, item, tree, names)
        writer.finish()

    def _begin(self, writer: LayerWriter) -> str:
        """Where the destination really is; made if it has to be a directory."""
        destination = self._destination
        tops = [
            item.header
            for item, _ in self.items
            if not item.target and item.header.kind is Kind.DIRECTORY
        ]
        if len(tops) == 1 and self.below.lstat(writer.place(destination)) is None:
            # A directory that is copied to a new place is that directory, mode and all.
            place = writer.place(destination)
            writer.add(place, tops[0])
            return place
        if self.into_directory or tops:
            return writer.make_directories(destination)
        return writer.place(destination)

    def _add(
        self,
        writer: LayerWriter,
        path: str,
        item: Item,
        tree: Tree,
        names: dict[Hashable, str],
    ) -> None:
        header = item.header
        if header.kind is not Kind.FILE:
            writer.add(path, header)
            return
        inode = tree.inode(item.source)
        if inode is not None and inode in names:
            writer.add(path, header, link=names[inode])
            return
        writer.add(path, header, tree.chunks(item.source))
        if inode is not None:
            names[inode] = writer.real_path(path)

    def _is_archive(self, item: Item, tree: Tree) -> bool:
        if self.job.keyword != "ADD" or item.header.kind is not Kind.FILE:
            return False
        wanted = item.named if self.job.unpack is None else self.job.unpack
        return wanted and open_archive(tree.chunks(item.source)) is not None

    def _unpack(self, writer: LayerWriter, item: Item, tree: Tree) -> None:
        """ADD of an archive: its files below the destination, with the owners it gives."""
        base = writer.make_directories(self._destination)
        source = open_archive(tree.chunks(item.source))
        assert source is not None
        for header, _ in entries(source):
            target = clean_path(os.fsdecode(header.name))
            if not target:
                continue
            if self.owner is not None:
                header = replace(header, uid=self.owner[0], gid=self.owner[1])  # noqa: PLW2901
            header = selection.change_mode(header, self.job.chmod)  # noqa: PLW2901
            path = f"{base}/{target}" if base else target
            if header.kind is Kind.HARDLINK:
                other = clean_path(os.fsdecode(header.link))
                writer.add(path, header, link=writer.real_path(f"{base}/{other}".lstrip("/")))
            else:
                size = header.size
                writer.add(path, header, source.pieces(size) if size else ())


class TextTree:
    """One file that is in memory."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def lstat(self, path: str) -> Header | None:
        return Header(name=b"", mode=0o644, size=len(self._content))

    def names(self, path: str) -> list[str]:
        return []

    def chunks(self, path: str) -> Iterator[bytes]:
        yield self._content

    def digest(self, path: str) -> str:
        digest = sha256()
        digest.update(self._content)
        return str(digest.hexdigest())

    def inode(self, path: str) -> Hashable | None:
        return None


def _nowhere(data: bytes) -> None:
    return
