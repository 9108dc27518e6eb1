"""The file tree that one layer's tar stands for, as overlayfs wants it. Touches no file system.

What dockerd does when it unpacks a layer is done here in memory: a later entry replaces an earlier
one, parents that are missing are made, links in the middle of a path lead on within the layer, and
whiteouts (`.wh.NAME`, `.wh..wh..opq`) become what overlayfs has for them: a character device 0/0
and the attribute `trusted.overlay.opaque`. File data is not looked at; a node says where in the tar
it is. Every bound is on what the tar can make grow.

Source: OCI image specification, `layer.md`.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from orlop.wire.tar import Header, Kind, TarError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MAX_ENTRIES = 1_000_000
"""Some 600 MB of nodes; the largest images people have hold a third of it."""

MAX_LINKS = 40
"""Links followed on one path, as many as the kernel does."""

MAX_PATH = 4096
MAX_NAME = 255
MAX_XATTR_BYTES = 64 << 10

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
META = b".wh..wh."

OPAQUE_XATTR = b"trusted.overlay.opaque"
ORIGIN_XATTR = b"trusted.overlay.origin"
_OVERLAY_XATTR = b"trusted.overlay."
"""What overlayfs keeps for itself: from an archive it could point into other layers."""

_NO_XATTRS: Mapping[bytes, bytes] = {}


class Node:
    """One inode. *links* counts the names of a file; a directory has *children*."""

    __slots__ = (
        "at", "children", "device", "gid", "kind", "link", "links", "mode", "mtime_ns", "nid",
        "opaque", "size", "sparse", "uid", "whiteouts", "xattrs",
    )  # fmt: skip

    def __init__(self, kind: Kind, mode: int) -> None:
        self.kind = kind
        self.mode = mode
        self.uid = 0
        self.gid = 0
        self.size = 0
        self.mtime_ns = 0
        self.link = b""
        self.device = (0, 0)
        self.xattrs = _NO_XATTRS
        self.at = 0
        """Where its data begins in the tar, in bytes."""
        self.sparse: tuple[tuple[int, int], ...] | None = None
        self.links = 1
        self.children: dict[bytes, Node] | None = {} if kind is Kind.DIRECTORY else None
        self.whiteouts: set[bytes] | None = None
        self.opaque = False
        self.nid = 0
        """Number given by the writer of an index."""


def build(entries: Iterable[tuple[Header, int]], total_bytes: int) -> Node:
    """The root of the tree that *entries* (see `tar_reader.entries`) make.

    Raises:
        TarError: a path leads out of the layer, a hard link to nothing, or a bound is reached.
    """
    tree = _Tree()
    for count, (header, at) in enumerate(entries):
        if count >= MAX_ENTRIES:
            raise TarError(f"a layer with more than {MAX_ENTRIES} entries")
        if at + header.padded_size > total_bytes:
            raise TarError("unexpected EOF")
        try:
            tree.add(header, at)
        except TarError as error:
            name = header.name[:200].decode(errors="replace")
            raise TarError(f"{name!r}: {error}") from None
    tree.settle()
    return tree.root


class _Tree:
    def __init__(self) -> None:
        self.root = Node(Kind.DIRECTORY, 0o755)
        self._hidden: list[Node] = []
        self._nodes = 1

    def add(self, header: Header, at: int) -> None:
        path = posixpath.normpath(header.name)
        parts = [part for part in path.split(b"/") if part not in (b"", b".")]
        if b".." in parts:
            raise TarError("the path leads out of the layer")
        if len(header.name) > MAX_PATH or any(len(part) > MAX_NAME for part in parts):
            raise TarError("file name too long")
        if not parts:
            if header.kind is Kind.DIRECTORY:
                _describe(self.root, header)
            return
        # Remnants of AUFS at the top of old layers: nobody unpacks them.
        if parts[0].startswith(META) and parts != [OPAQUE]:
            return
        *above, name = parts
        directory = self._directory(above)
        assert directory.children is not None
        if name == OPAQUE:
            directory.opaque = True
            self._hidden.append(directory)
        elif name.startswith(WHITEOUT):
            self._hide(directory, name[len(WHITEOUT) :])
        elif header.kind is Kind.HARDLINK:
            self._link(directory, name, header)
        else:
            self._put(directory, name, header, at)

    def settle(self) -> None:
        """Turn what is hidden into nodes: a name that the layer also has wins over its whiteout."""
        for directory in self._hidden:
            children, whiteouts = directory.children, directory.whiteouts
            if children is None:
                continue
            for name in whiteouts or ():
                present = children.get(name)
                if present is None:
                    children[name] = Node(Kind.CHAR, 0)
                elif present.kind is Kind.DIRECTORY:
                    present.opaque = True
            directory.whiteouts = None
        _mark(self.root)

    def _put(self, directory: Node, name: bytes, header: Header, at: int) -> None:
        assert directory.children is not None
        present = directory.children.get(name)
        if present is not None and present.kind is header.kind is Kind.DIRECTORY:
            before = present.xattrs
            _describe(present, header)
            # Attributes are set on what is there, never taken away.
            present.xattrs = {**before, **present.xattrs}
            return
        if present is not None:
            _forget(present)
        node = Node(header.kind, header.mode)
        _describe(node, header)
        node.at = at
        directory.children[name] = node

    def _link(self, directory: Node, name: bytes, header: Header) -> None:
        assert directory.children is not None
        parts = _parts(header.link)
        target = self._find(parts)
        if target is None or target.kind is Kind.DIRECTORY:
            link = header.link[:200].decode(errors="replace")
            raise TarError(f"invalid hardlink to {link!r}")
        present = directory.children.get(name)
        if present is target:
            return
        if present is not None:
            _forget(present)
        target.links += 1
        directory.children[name] = target

    def _hide(self, directory: Node, name: bytes) -> None:
        if name in (b"", b".", b".."):
            raise TarError("a whiteout of nothing")
        if directory.whiteouts is None:
            directory.whiteouts = set()
            self._hidden.append(directory)
        directory.whiteouts.add(name)

    def _find(self, parts: list[bytes]) -> Node | None:
        if not parts or b".." in parts:
            return None
        try:
            directory = self._directory(parts[:-1], make=False)
        except TarError:
            return None
        assert directory.children is not None
        return directory.children.get(parts[-1])

    def _directory(self, parts: list[bytes], *, make: bool = True) -> Node:
        """The directory at *parts*, following links inside the layer as a chroot would."""
        path: list[Node] = [self.root]
        left = list(reversed(parts))
        followed = 0
        while left:
            name = left.pop()
            if name == b"..":
                if len(path) > 1:
                    path.pop()
                continue
            here = path[-1]
            assert here.children is not None
            node = here.children.get(name)
            if node is None:
                if not make or followed:
                    raise TarError("no such directory")
                node = here.children[name] = Node(Kind.DIRECTORY, 0o755)
                self._count()
            if node.kind is Kind.SYMLINK:
                followed += 1
                if followed > MAX_LINKS:
                    raise TarError("too many levels of symbolic links")
                if node.link.startswith(b"/"):
                    path = [self.root]
                left += reversed(_parts(node.link))
            elif node.children is None:
                raise TarError("not a directory")
            else:
                path.append(node)
        return path[-1]

    def _count(self) -> None:
        self._nodes += 1
        if self._nodes > MAX_ENTRIES:
            raise TarError(f"a layer with more than {MAX_ENTRIES} entries")


def _parts(path: bytes) -> list[bytes]:
    return [part for part in path.split(b"/") if part not in (b"", b".")]


def _forget(node: Node) -> None:
    """One name of *node* is gone; of a directory, all names below as well."""
    waiting = [node]
    while waiting:
        gone = waiting.pop()
        gone.links -= 1
        if gone.children is not None:
            waiting += gone.children.values()
            gone.children = None


def _describe(node: Node, header: Header) -> None:
    node.mode = header.mode if header.kind is not Kind.SYMLINK else 0o777
    node.uid, node.gid = header.uid, header.gid
    if not (0 <= header.uid < 1 << 32 and 0 <= header.gid < 1 << 32):
        raise TarError("user or group number out of range")
    node.mtime_ns = header.mtime_ns
    if header.kind is Kind.SYMLINK:
        if not 0 < len(header.link) < MAX_PATH:
            raise TarError("invalid symbolic link")
        node.link = header.link
        node.size = len(header.link)
    elif header.kind is Kind.FILE:
        node.size, node.sparse = header.real_size, header.sparse
    elif header.kind in (Kind.CHAR, Kind.BLOCK_DEVICE):
        major, minor = header.device
        if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
            raise TarError("device number out of range")
        node.device = header.device
    kept = {
        key: value for key, value in header.xattrs.items() if not key.startswith(_OVERLAY_XATTR)
    }
    if sum(len(key) + len(value) + 8 for key, value in kept.items()) > MAX_XATTR_BYTES:
        raise TarError("extended attributes too large")
    node.xattrs = kept or _NO_XATTRS


def _is_whiteout(node: Node) -> bool:
    return node.kind is Kind.CHAR and node.device == (0, 0)


def _mark(root: Node) -> None:
    """Give directories the attributes by which overlayfs sees whiteouts in them."""
    for node in walk(root):
        assert node.children is not None
        if node.opaque:
            # Nothing shows through, so nothing needs to be hidden.
            node.children = {
                name: child for name, child in node.children.items() if not _is_whiteout(child)
            }
            node.xattrs = {**node.xattrs, OPAQUE_XATTR: b"y"}
        elif any(map(_is_whiteout, node.children.values())):
            # Without a mark overlayfs need not look for whiteouts in a directory that it believes
            # to be no merge of several.
            node.xattrs = {**node.xattrs, ORIGIN_XATTR: b""}


def walk(root: Node) -> Iterator[Node]:
    """Every directory, parents first."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        assert node.children is not None
        waiting += [child for child in node.children.values() if child.children is not None]
