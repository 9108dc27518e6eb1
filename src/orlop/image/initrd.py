"""Write the initrd: an uncompressed cpio archive of `/init` and the system image.

Not compressed, because the image inside is, and the kernel would have to hold both. The format is
"newc"; inode numbers count from 1, times are 0, owners root, so equal inputs give equal bytes.

Source: Linux Documentation/driver-api/early-userspace/buffer-format.rst.
"""

import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from orlop.lib.errors import InvalidArgument

ROOT = "os.erofs"
"""The system image, by its name in the archive."""

_MAGIC = b"070701"
_TRAILER = "TRAILER!!!"
_HEADER_BYTES = 110
_ALIGNMENT = 4
_ARCHIVE_ALIGNMENT = 512
_MAXIMUM_SIZE_BYTES = 0xFFFF_FFFF  # eight hexadecimal digits
_COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Member:
    """One name in the archive: a file with *source*, a directory, or a character device."""

    name: str
    mode: int
    source: Path | None = None
    device: tuple[int, int] = (0, 0)


def initrd_members(init: Path, image: Path) -> list[Member]:
    """What the initrd holds. The kernel opens `/dev/console` before /init can mount anything."""
    return [
        Member("dev", stat.S_IFDIR | 0o755),
        Member("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
        Member("init", stat.S_IFREG | 0o755, init),
        Member(ROOT, stat.S_IFREG | 0o400, image),
        Member("root", stat.S_IFDIR | 0o755),
    ]


def write_cpio(members: Iterable[Member], output: BinaryIO) -> None:
    """Write *members* in their order, the trailer, and zeros up to a whole sector.

    Raises:
        ValueError: a file is larger than the format can say.
        OSError: a source cannot be read.
    """
    written = 0
    for number, member in enumerate(members, 1):
        size = member.source.stat().st_size if member.source else 0
        written += output.write(_header(member, number, size))
        if member.source:
            with member.source.open("rb") as stream:
                while chunk := stream.read(_COPY_BYTES):
                    written += output.write(chunk)
            written += output.write(_padding(written, _ALIGNMENT))
    written += output.write(_header(Member(_TRAILER, 0), 0, 0))
    output.write(_padding(written, _ARCHIVE_ALIGNMENT))


def find_member(archive: bytes, wanted: str) -> tuple[int, int]:
    """Where the content of *wanted* lies in *archive*: offset and size.

    Raises:
        InvalidArgument: it is not there, or this is no archive as it is written here.
    """
    at = 0
    while archive[at : at + len(_MAGIC)] == _MAGIC:
        size_bytes, name_bytes = (_field(archive, at, index) for index in (6, 11))
        name = archive[at + _HEADER_BYTES : at + _HEADER_BYTES + name_bytes - 1]
        start = at + _HEADER_BYTES + name_bytes
        start += -start % _ALIGNMENT
        if name == wanted.encode():
            return start, size_bytes
        at = start + size_bytes + -size_bytes % _ALIGNMENT
    raise InvalidArgument(f"there is no {wanted} in the initrd")


def _field(archive: bytes, at: int, index: int) -> int:
    start = at + len(_MAGIC) + 8 * index
    try:
        return int(archive[start : start + 8], 16)
    except ValueError:
        raise InvalidArgument("the initrd is damaged") from None


def _header(member: Member, number: int, size_bytes: int) -> bytes:
    if size_bytes > _MAXIMUM_SIZE_BYTES:
        raise ValueError(f"{member.name} is too large for a cpio archive")
    links = 2 if stat.S_ISDIR(member.mode) else 1
    name = member.name.encode() + b"\0"
    major, minor = member.device
    # inode, mode, uid, gid, links, mtime, size, device, special device, name size, checksum
    fields = (number, member.mode, 0, 0, links, 0, size_bytes, 0, 0, major, minor, len(name), 0)
    header = _MAGIC + b"".join(b"%08X" % value for value in fields) + name
    return header + _padding(len(header), _ALIGNMENT)


def _padding(position: int, alignment: int) -> bytes:
    return bytes(-position % alignment)
