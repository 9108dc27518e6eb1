"""Finding a file in a CD's file system, wherever that is: on a medium, in a file, in a part of one.

Only where its bytes are: files on a CD lie in one piece. Names of the plain directory tree, without
Rock Ridge or Joliet, upper and lower case alike. What is on the medium may be anything, so every
length has a limit. Pure. Source: ECMA-119, chapters 8 and 9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    type Read = Callable[[int, int], bytes]
    """`read(offset, size)`: up to *size* bytes from *offset*, fewer at the end."""

BLOCK_BYTES = 2048
_DESCRIPTOR_AT, _MAGIC = 16 * BLOCK_BYTES, b"\x01CD001\x01"
_ROOT_AT, _RECORD_BYTES = 156, 33
_MAX_DIRECTORY_BYTES = 1 << 18
_DIRECTORY = 0x02


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a file is."""

    offset_bytes: int
    size_bytes: int


def read_label(read: Read) -> str | None:
    """The volume's name; None if it is no CD's file system.

    Raises:
        OSError: from *read*.
    """
    descriptor = read(_DESCRIPTOR_AT, BLOCK_BYTES)
    if not descriptor.startswith(_MAGIC) or len(descriptor) < BLOCK_BYTES:
        return None
    return descriptor[40:72].decode("ascii", "replace").strip(" \0")


def find(read: Read, path: str) -> Extent:
    """Where the file at *path* (`/boot/grub/grub.cfg`) is.

    Raises:
        NotFound: there is none.
        InvalidArgument: it is no CD's file system, or a damaged one.
        OSError: from *read*.
    """
    descriptor = read(_DESCRIPTOR_AT, BLOCK_BYTES)
    if not descriptor.startswith(_MAGIC) or len(descriptor) < BLOCK_BYTES:
        raise InvalidArgument("there is no CD's file system")
    extent, is_directory = _extent(descriptor, _ROOT_AT), True
    for name in path.strip("/").split("/"):
        entries = _entries(read, extent) if is_directory else iter(())
        wanted = name.upper()
        found = next(((e, d) for own, e, d in entries if own == wanted), None)
        if found is None:
            raise NotFound(f"there is no {path} on it")
        extent, is_directory = found
    if is_directory:
        raise NotFound(f"{path} on it is a directory")
    return extent


def _entries(read: Read, directory: Extent) -> Iterator[tuple[str, Extent, bool]]:
    """What is in *directory*: name in upper case, place, and whether it is a directory."""
    if directory.size_bytes > _MAX_DIRECTORY_BYTES:
        raise InvalidArgument("a directory of the CD's file system has an impossible size")
    data = read(directory.offset_bytes, directory.size_bytes)
    at = 0
    while at + _RECORD_BYTES <= len(data):
        length = data[at]
        if length == 0:  # no record goes over the end of a block
            at += BLOCK_BYTES - at % BLOCK_BYTES
            continue
        name_length = data[at + 32]
        if length < _RECORD_BYTES + name_length or at + length > len(data):
            raise InvalidArgument("a directory of the CD's file system is damaged")
        name = data[at + _RECORD_BYTES : at + _RECORD_BYTES + name_length].decode("latin-1")
        own = name.partition(";")[0].rstrip(".").upper()
        yield own, _extent(data, at), bool(data[at + 25] & _DIRECTORY)
        at += length


def _extent(data: bytes, at: int) -> Extent:
    block = int.from_bytes(data[at + 2 : at + 6], "little")
    return Extent(block * BLOCK_BYTES, int.from_bytes(data[at + 10 : at + 14], "little"))
