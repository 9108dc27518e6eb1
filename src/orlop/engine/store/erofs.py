"""Writes the EROFS index of a layer: all metadata, no data; files point into the layer's own tar.

The kernel mounts the pair with the tar as the extra device: mount(index, target, "erofs",
MS_RDONLY, "device=layer.tar"). The block size is tar's 512 bytes, so that data can stay where it
is. Everything is laid out in one pass: inodes with their attributes and chunk indexes in order of
the tree, then the blocks of directories and links that did not fit beside their inode.

Why not mkfs.erofs --tar=i, which makes the same: it is a second reader of a hostile archive, in C,
and gets AUFS remnants, sparse files and overlayfs's own attributes wrong.

Source: Linux 6.12 fs/erofs/erofs_fs.h.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO

from orlop.engine.store.tree import Node, walk
from orlop.wire.tar import Kind, TarError

if TYPE_CHECKING:
    from collections.abc import Iterable

BLOCK_BITS = 9
BLOCK = 1 << BLOCK_BITS
MAGIC = 0xE0F5E1E2
SUPERBLOCK_AT = 1024
SUPERBLOCK_BYTES = 128
ROOT_AT = SUPERBLOCK_AT + 2 * SUPERBLOCK_BYTES
"""After the superblock and one slot of the device table."""

MTIME = 0x2
CHUNKED_FILE = 0x4
DEVICE_TABLE = 0x8

INODE_BYTES = 64
FLAT_PLAIN, FLAT_INLINE, CHUNK_BASED = 0, 2, 4
CHUNK_INDEXES = 0x20
HOLE = 0xFFFFFFFF
MAX_CHUNKS = 1 << 22
"""Of one file: an index of 32 MiB."""

_SUPERBLOCK = struct.Struct("<IIIBBHQQIIII16s16sIHHHBBIQ24x")
_DEVICE = struct.Struct("<64sII56x")
_INODE = struct.Struct("<HHHHQIIIIqIII12x")
_DIRENT = struct.Struct("<QHBB")
_CHUNK = struct.Struct("<HHI")
_XATTRS = (
    (b"user.", 1),
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"trusted.", 4),
    (b"security.", 6),
)
_FORMAT = {
    Kind.FILE: (0o100000, 1),
    Kind.DIRECTORY: (0o040000, 2),
    Kind.CHAR: (0o020000, 3),
    Kind.BLOCK_DEVICE: (0o060000, 4),
    Kind.FIFO: (0o010000, 5),
    Kind.SYMLINK: (0o120000, 7),
}
"""The file type bits of the mode, and the type in a directory entry."""


def write_index(root: Node, output: BinaryIO, *, tar_bytes: int, uuid: bytes) -> int:
    """Write the index of the tree at *root* to *output*, which is empty; its size in bytes.

    Raises:
        TarError: something that the format cannot hold.
        OSError: of *output*.
    """
    plan = _Plan()
    for node, parent in _inodes(root):
        plan.place(node, parent)
    size = plan.finish()
    if size >= HOLE << BLOCK_BITS or tar_bytes >= HOLE << BLOCK_BITS:
        raise TarError("a layer of more than two terabytes")
    blocks = size >> BLOCK_BITS
    # No checksum: the store keeps one of the whole file.
    output.write(bytes(SUPERBLOCK_AT))
    output.write(
        _SUPERBLOCK.pack(
            MAGIC, 0, MTIME, BLOCK_BITS, 0, ROOT_AT >> 5, plan.inodes, 0, 0, blocks, 0, 0,
            uuid, b"", CHUNKED_FILE | DEVICE_TABLE, 0, 1,
            (SUPERBLOCK_AT + SUPERBLOCK_BYTES) >> 7, 0, 0, 0, 0,
        )
    )  # fmt: skip
    output.write(_DEVICE.pack(b"layer.tar", -(-tar_bytes // BLOCK), blocks))
    plan.write(output)
    return size


def _inodes(root: Node) -> Iterable[tuple[Node, Node]]:
    """Each inode once, with its (for a file: some) directory; a directory before what is in it."""
    yield root, root
    seen: set[int] = set()
    for directory in walk(root):
        assert directory.children is not None
        for child in directory.children.values():
            if child.links > 1 and child.children is None:
                if id(child) in seen:
                    continue
                seen.add(id(child))
            yield child, directory


class _Plan:
    """Where everything goes: first places are given out, then all is written in order."""

    def __init__(self) -> None:
        self.inodes = 0
        self._at = ROOT_AT
        self._placed: list[tuple[Node, int, bytes, bytes, int]] = []
        self._parents: dict[int, Node] = {}
        self._blocks: list[tuple[int, Node]] = []
        self._data_at = 0

    def place(self, node: Node, parent: Node) -> None:
        """Give *node* its place and number."""
        xattrs = _encode_xattrs(node.xattrs.items()) if node.xattrs else b""
        extra, tail = b"", 0
        if node.kind is Kind.FILE and node.size:
            extra = _chunks(node)
        elif node.kind is Kind.DIRECTORY:
            node.size = _directory_bytes(node)
            self._parents[id(node)] = parent
            tail = node.size
        elif node.kind is Kind.SYMLINK:
            tail = node.size
        head = INODE_BYTES + len(xattrs)
        layout = FLAT_PLAIN
        at = -(-self._at // 32) * 32
        if node.kind is Kind.FILE and node.size:
            layout = CHUNK_BASED
            head = -(-head // 8) * 8
        elif tail:
            # What is inline must not cross a block, so it may have to begin in the next one. The
            # root stays where it is, as its number has 16 bits.
            place = at + head
            if place % BLOCK + tail <= BLOCK:
                layout = FLAT_INLINE
            elif tail + head % BLOCK <= BLOCK and head < BLOCK and self.inodes:
                at = -(-at // BLOCK) * BLOCK
                layout = FLAT_INLINE
            else:
                self._blocks.append((len(self._placed), node))
        node.nid = at >> 5
        self._placed.append((node, at, xattrs, extra, layout))
        self._at = at + head + (len(extra) if layout == CHUNK_BASED else 0)
        if layout == FLAT_INLINE:
            self._at += tail
        self.inodes += 1

    def finish(self) -> int:
        """Give places to what is not inline; the size of the whole in bytes."""
        at = self._data_at = -(-self._at // BLOCK) * BLOCK
        for _, node in self._blocks:
            at += -(-node.size // BLOCK) * BLOCK
        return at

    def write(self, output: BinaryIO) -> None:
        position = ROOT_AT
        block = self._data_at >> BLOCK_BITS
        for number, (node, at, xattrs, extra, layout) in enumerate(self._placed):
            union = _union(node, extra)
            if layout == FLAT_PLAIN and node.kind in (Kind.DIRECTORY, Kind.SYMLINK):
                union = block
                block += -(-node.size // BLOCK)
            head = _encode_inode(node, number + 1, layout, union, xattrs) + xattrs
            if layout == CHUNK_BASED:
                head += bytes(-len(head) % 8) + extra
            elif layout == FLAT_INLINE:
                head += self._content(node)
            output.write(bytes(at - position) + head)
            position = at + len(head)
        output.write(bytes(self._data_at - position))
        for _, node in self._blocks:
            data = self._content(node)
            output.write(data + bytes(-len(data) % BLOCK))

    def _content(self, node: Node) -> bytes:
        if node.kind is Kind.SYMLINK:
            return node.link
        return _encode_directory(node, self._parents[id(node)])


def _union(node: Node, extra: bytes) -> int:
    """The field that means something else for each kind of inode."""
    if node.kind is Kind.FILE:
        return _chunk_bits(node) - BLOCK_BITS | CHUNK_INDEXES if extra else 0
    if node.kind in (Kind.CHAR, Kind.BLOCK_DEVICE):
        major, minor = node.device
        return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12
    return 0


def _encode_inode(node: Node, number: int, layout: int, union: int, xattrs: bytes) -> bytes:
    seconds, nanoseconds = divmod(node.mtime_ns, 1_000_000_000)
    links = node.links
    if node.children is not None:
        links = 2 + sum(child.children is not None for child in node.children.values())
    return _INODE.pack(
        1 | layout << 1,
        (len(xattrs) - 12) // 4 + 1 if xattrs else 0,
        _FORMAT[node.kind][0] | node.mode,
        0,
        node.size,
        union,
        number & 0xFFFFFFFF,
        node.uid,
        node.gid,
        min(max(seconds, -(1 << 62)), 1 << 62),
        nanoseconds,
        min(links, 0xFFFFFFFF),
        0,
    )


def _encode_xattrs(items: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Empty when there is none that the kernel knows."""
    parts = []
    for key, value in items:
        found = _split_xattr(key)
        if found is None:
            continue
        index, name = found
        if len(name) > 255 or len(value) > 0xFFFF:
            raise TarError("an extended attribute is too large")
        entry = struct.pack("<BBH", len(name), index, len(value)) + name + value
        parts.append(entry + bytes(-len(entry) % 4))
    return bytes(12) + b"".join(parts) if parts else b""


def _split_xattr(key: bytes) -> tuple[int, bytes] | None:
    for prefix, index in _XATTRS:
        if key.startswith(prefix) and (index not in (2, 3) or key == prefix):
            return index, key[len(prefix) :]
    return None


def _chunk_bits(node: Node) -> int:
    """The size of its chunks: one if the data is in one piece, else what divides all pieces."""
    whole = max((node.size - 1).bit_length(), BLOCK_BITS)
    if node.sparse is None:
        return whole
    bits = whole
    for offset, length in node.sparse:
        ends_file = offset + length == node.size
        for number in (offset, 0 if ends_file else length):
            while number % (1 << bits):
                bits -= 1
                if bits < BLOCK_BITS:
                    raise TarError("a sparse file whose pieces are not multiples of 512 bytes")
    return bits


def _chunks(node: Node) -> bytes:
    if node.sparse is None:
        return _CHUNK.pack(0, 1, node.at >> BLOCK_BITS)
    bits = _chunk_bits(node)
    count = -(-node.size >> bits)
    if count > MAX_CHUNKS:
        raise TarError("a sparse file in too many pieces")
    chunks = bytearray(_CHUNK.pack(0, 0, HOLE) * count)
    at = node.at >> BLOCK_BITS
    for offset, length in node.sparse:
        for index in range(offset >> bits, -(-(offset + length) >> bits)):
            _CHUNK.pack_into(chunks, index * _CHUNK.size, 0, 1, at)
            at += 1 << bits - BLOCK_BITS
    return bytes(chunks)


def _names(node: Node) -> list[bytes]:
    assert node.children is not None
    return sorted([b".", b"..", *node.children])


def _directory_blocks(names: list[bytes]) -> Iterable[list[bytes]]:
    """Names by block: each takes an entry and its own length."""
    block: list[bytes] = []
    used = 0
    for name in names:
        need = _DIRENT.size + len(name)
        if used + need > BLOCK:
            yield block
            block, used = [], 0
        block.append(name)
        used += need
    yield block


def _directory_bytes(node: Node) -> int:
    blocks = list(_directory_blocks(_names(node)))
    last = sum(_DIRENT.size + len(name) for name in blocks[-1])
    return (len(blocks) - 1) * BLOCK + last


def _encode_directory(node: Node, parent: Node) -> bytes:
    assert node.children is not None
    result = bytearray()
    for block in _directory_blocks(_names(node)):
        result += bytes(-len(result) % BLOCK)
        at = len(block) * _DIRENT.size
        for name in block:
            if name == b".":
                child = node
            elif name == b"..":
                child = parent
            else:
                child = node.children[name]
            result += _DIRENT.pack(child.nid, at, _FORMAT[child.kind][1], 0)
            at += len(name)
        result += b"".join(block)
    return bytes(result)
