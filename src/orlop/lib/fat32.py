"""Makes a FAT32 file system with given files in it: what an EFI system partition is.

Written front to back into a file or a device, without mkfs and without a mount; equal inputs give
equal bytes. Every file lies in one piece. Files that are small come first, so that an image
which is added later moves nothing. Everything is written that a reader looks at, so the device
need not be empty. Source: Microsoft's FAT specification, 1.03 of 2000.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument, ResourceExhausted
from orlop.lib.fat_entries import (
    ENTRY_BYTES,
    FILE,
    FOLDER,
    LABEL,
    alias_of,
    checked,
    entries_of,
    entry,
    is_short,
    label_bytes,
    long_entries,
    plain,
    stamp_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    type Content = bytes | Path | Piece
    type Write = Callable[[int, bytes], object]
    """`write(offset, data)`, from the first byte of the file system on."""

MIN_CLUSTERS = 65525
"""With fewer a file system is FAT16, whatever it says of itself."""
MAX_CLUSTER_BYTES = 4096

_RESERVED_SECTORS, _FATS, _ROOT_CLUSTER = 32, 2, 2
_INFO_SECTOR, BACKUP_SECTOR = 1, 6
_END = 0x0FFFFFFF
_CHUNK_BYTES = 1 << 20
_ALIGNMENT_BYTES = 4096
# A boot sector that is executed stops: nobody should get there, GRUB is in the MBR.
_BOOT_CODE = b"\xeb\x58\x90", b"\xf4\xeb\xfd"


@dataclass(frozen=True, slots=True)
class Piece:
    """*size_bytes* of a file or device, from *offset_bytes* on."""

    path: Path
    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes of a file system: sectors of *sector_bytes*, but for *cluster_bytes*."""

    sector_bytes: int
    cluster_bytes: int
    sectors: int
    reserved: int
    fat_sectors: int
    clusters: int

    @property
    def data_bytes(self) -> int:
        """Where the first cluster, which has number 2, begins."""
        return (self.reserved + _FATS * self.fat_sectors) * self.sector_bytes


@dataclass(slots=True, eq=False)
class _Node:
    """A file, or a folder with *children*; where it is once `_allocate` has been there."""

    name: str
    content: Content | None
    size: int
    parent: _Node | None
    children: dict[str, _Node] = field(default_factory=dict)
    """By their names in capitals: FAT does not tell them apart."""
    first: int = 0
    clusters: int = 0


def make_fat32(
    write: Write,
    size_bytes: int,
    label: str,
    files: Mapping[str, Content],
    *,
    epoch: int,
    volume_id: int,
    hidden_sectors: int = 0,
    sector_bytes: int = 512,
) -> None:
    """Write a file system of *size_bytes* with *files*: paths like `EFI/BOOT/X.EFI` to contents.

    *epoch* is the date of everything in it, *hidden_sectors* where on the disk it begins. Blocks;
    nothing is synced.

    Raises:
        InvalidArgument: the size is not one of FAT32, or a name is not one of ASCII that FAT has.
        ResourceExhausted: the files do not fit.
        OSError: from *write*, or a file cannot be read.
    """
    shape = plan_geometry(size_bytes, sector_bytes)
    root = _tree(files)
    nodes = _allocate(root, shape)
    used = nodes[-1].first + nodes[-1].clusters - 2
    for sector in (0, BACKUP_SECTOR):
        write(sector * sector_bytes, _boot_sector(shape, label, volume_id, hidden_sectors))
        write((sector + _INFO_SECTOR) * sector_bytes, _info_sector(shape, used))
    for copy in range(_FATS):
        offset = (shape.reserved + copy * shape.fat_sectors) * sector_bytes
        for chunk in _table(nodes, shape.fat_sectors * sector_bytes):
            write(offset, chunk)
            offset += len(chunk)
    stamp = stamp_of(epoch)
    for node in nodes:
        offset = shape.data_bytes + (node.first - 2) * shape.cluster_bytes
        if node.content is None:
            text = entry(label_bytes(label), LABEL, 0, 0, stamp) if node is root else b""
            pieces: Iterator[bytes] = iter((_folder(node, stamp, text),))
        else:
            pieces = _pieces(node)
        for piece in pieces:
            whole = -len(piece) % shape.cluster_bytes
            write(offset, piece + bytes(whole))
            offset += len(piece) + whole


def check_room(size_bytes: int, files: Mapping[str, Content], sector_bytes: int = 512) -> None:
    """Whether `make_fat32` would make a file system of *size_bytes* with *files*.

    Raises:
        InvalidArgument, ResourceExhausted, OSError: as `make_fat32`.
    """
    _allocate(_tree(files), plan_geometry(size_bytes, sector_bytes))


def plan_geometry(size_bytes: int, sector_bytes: int = 512) -> Geometry:
    """The largest clusters with which *size_bytes* are enough for FAT32.

    Raises:
        InvalidArgument: none are small enough.
    """
    cluster = MAX_CLUSTER_BYTES
    while cluster >= sector_bytes:
        sectors = size_bytes // sector_bytes
        fat_sectors = -(-(size_bytes // cluster + 2) * 4 // sector_bytes)
        align = max(1, _ALIGNMENT_BYTES // sector_bytes)
        reserved = _RESERVED_SECTORS + -(_RESERVED_SECTORS + _FATS * fat_sectors) % align
        rest = sectors - reserved - _FATS * fat_sectors
        clusters = rest * sector_bytes // cluster
        # Programs differ by a few clusters in where FAT16 ends.
        if clusters >= MIN_CLUSTERS + 16 and sectors < 2**32:
            return Geometry(sector_bytes, cluster, sectors, reserved, fat_sectors, clusters)
        cluster //= 2
    raise InvalidArgument(f"{size_bytes} bytes are not a size of FAT32")


def _tree(files: Mapping[str, Content]) -> _Node:
    root = _Node("", None, 0, None)
    for path, content in files.items():
        node = root
        *folders, name = path.split("/")
        for folder in folders:
            new = _Node(checked(folder), None, 0, node)
            node = node.children.setdefault(folder.upper(), new)
        new = _Node(checked(name), content, _size(content), node)
        if node.content is not None or node.children.setdefault(name.upper(), new) is not new:
            raise InvalidArgument(f"{path} is there twice")
    return root


def _allocate(root: _Node, shape: Geometry) -> list[_Node]:
    """Give everything its clusters: folders first, then files by size. Empty files have none."""
    folders = [root]
    for folder in folders:
        folders += [node for node in folder.children.values() if node.content is None]
    files = [
        node for folder in folders for node in folder.children.values() if node.content is not None
    ]
    for folder in folders:
        entries = 2 + sum(entries_of(node.name) for node in folder.children.values())
        folder.size = entries * ENTRY_BYTES
    nodes = [*folders, *sorted((file for file in files if file.size), key=lambda file: file.size)]
    free = _ROOT_CLUSTER
    for node in nodes:
        if node.size >= 2**32:
            raise InvalidArgument(f"{node.name} is too large for FAT32")
        node.first, node.clusters = free, -(-node.size // shape.cluster_bytes)
        free += node.clusters
    if free - 2 > shape.clusters:
        needed = (free - 2) * shape.cluster_bytes
        raise ResourceExhausted(f"{needed >> 20} MiB of files do not fit into the file system")
    return nodes


def _size(content: Content) -> int:
    match content:
        case bytes():
            return len(content)
        case Piece(size_bytes=size):
            return size
        case _:
            return content.stat().st_size


def _pieces(node: _Node) -> Iterator[bytes]:
    """The content of a file; every piece but the last is a multiple of any cluster.

    Raises:
        InvalidArgument: the file is not as long as it was.
    """
    match node.content:
        case bytes(data):
            yield data
            return
        case Piece(path, start, _):
            pass
        case None:
            return
        case path:
            start = 0
    left = node.size
    with path.open("rb") as stream:
        stream.seek(start)
        while left:
            piece = stream.read(min(left, _CHUNK_BYTES))
            if not piece:
                raise InvalidArgument(f"{path} became shorter")
            left -= len(piece)
            yield piece


def _table(nodes: list[_Node], size_bytes: int) -> Iterator[bytes]:
    """One allocation table, in pieces: chains of clusters that follow each other."""
    table = bytearray(struct.pack("<II", 0x0FFFFFF8, _END))
    for node in nodes:
        following = range(node.first + 1, node.first + node.clusters)
        table += struct.pack(f"<{node.clusters}I", *following, _END)
    table += bytes(-len(table) % _CHUNK_BYTES)
    for offset in range(0, size_bytes, _CHUNK_BYTES):
        want = min(_CHUNK_BYTES, size_bytes - offset)
        yield bytes(table[offset : offset + want]).ljust(want, b"\0")


def _boot_sector(shape: Geometry, label: str, volume_id: int, hidden_sectors: int) -> bytes:
    jump, code = _BOOT_CODE
    sector = struct.pack(
        "<3s8sHBHBHHBHHHIIIHHIHH12xBBBI11s8s",
        jump,
        b"ORLOP   ",
        shape.sector_bytes,
        shape.cluster_bytes // shape.sector_bytes,
        shape.reserved,
        _FATS,
        0,  # entries of the root folder, sectors, sectors of a table: of FAT16
        0,
        0xF8,
        0,
        63,  # sectors of a track and heads, which nobody uses any more
        255,
        hidden_sectors & 0xFFFFFFFF,
        shape.sectors,
        shape.fat_sectors,
        0,
        0,
        _ROOT_CLUSTER,
        _INFO_SECTOR,
        BACKUP_SECTOR,
        0x80,
        0,
        0x29,
        volume_id,
        label_bytes(label),
        b"FAT32   ",
    )
    return ((sector + code).ljust(510, b"\0") + b"\x55\xaa").ljust(shape.sector_bytes, b"\0")


def _info_sector(shape: Geometry, used: int) -> bytes:
    head = struct.pack("<I480xIII", 0x41615252, 0x61417272, shape.clusters - used, used + 2)
    return (head.ljust(510, b"\0") + b"\x55\xaa").ljust(shape.sector_bytes, b"\0")


def _folder(folder: _Node, stamp: tuple[int, int], start: bytes) -> bytes:
    """The entries of *folder*, after *start*, which the root has instead of links to itself."""
    data = bytearray(start)
    if folder.parent is not None:
        above = folder.parent.first if folder.parent.parent else 0  # the root is 0 here
        data += entry(b".".ljust(11), FOLDER, folder.first, 0, stamp)
        data += entry(b"..".ljust(11), FOLDER, above, 0, stamp)
    aliases: set[bytes] = {
        plain(node.name) for node in folder.children.values() if is_short(node.name)
    }
    for node in folder.children.values():
        if is_short(node.name):
            alias = plain(node.name)
        else:
            alias = alias_of(node.name, aliases)
            aliases.add(alias)
            data += long_entries(node.name, alias)
        if node.content is None:
            data += entry(alias, FOLDER, node.first, 0, stamp)
        else:
            data += entry(alias, FILE, node.first, node.size, stamp)
    return bytes(data)
