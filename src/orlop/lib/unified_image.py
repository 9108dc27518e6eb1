"""What a unified kernel image says of itself, and where kernel and initrd lie in it.

An image is an EFI program whose sections are the parts. Of sections with the same name the first
counts, which is that of the profile that is used by default. Pure. Sources: PE Format (Microsoft),
UAPI.5, os-release(5).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable

    type Read = Callable[[int, int], bytes]
    """`read(offset, size)`: up to *size* bytes from *offset*, fewer at the end."""

HEAD_BYTES = 8192
SECTOR_BYTES = 512
MAX_TEXT_BYTES = 64 << 10
EXTRAS_WORD = "ORLOP_EXTRAS"
"""In the image's os-release."""

_DOS_HEADER = struct.Struct("<2s58xI")
_FILE_HEADER = struct.Struct("<4sHHIIIHH")
_SECTION_HEADER = struct.Struct("<8sIIII16x")


class Section(NamedTuple):
    """A part of the file."""

    offset_bytes: int
    size_bytes: int

    @property
    def sectors(self) -> tuple[int, int]:
        """First sector and number of sectors, of 512 bytes."""
        return self.offset_bytes // SECTOR_BYTES, -(-self.size_bytes // SECTOR_BYTES)


@dataclass(frozen=True, slots=True)
class Description:
    """*kernel* and *initrd* are places: first sector and number of sectors, of 512 bytes. *extras*
    is the SHA-256 of the storage extras that the system in it takes; empty if it does not say."""

    version: str
    build: str
    command_line: str
    kernel: tuple[int, int]
    initrd: tuple[int, int]
    extras: str = ""


def parse_sections(head: bytes, name: str = "the image") -> dict[str, Section]:
    """The sections of the EFI program, called *name*, whose first `HEAD_BYTES` are *head*.

    Raises:
        InvalidArgument: it is none, or a section does not begin at a sector.
    """
    found: dict[str, Section] = {}
    for title, section in parse_rows(head, name):
        found.setdefault(title, section)
    return found


def parse_rows(head: bytes, name: str = "the image") -> list[tuple[str, Section]]:
    """As `parse_sections`, in the order of the file and with all that have the same name."""
    try:
        magic, at = _DOS_HEADER.unpack_from(head)
        signature, _, count, _, _, _, optional_bytes, _ = _FILE_HEADER.unpack_from(head, at)
        if (magic, signature) != (b"MZ", b"PE\0\0"):
            raise InvalidArgument(f"{name} is not an EFI program")
        table = at + _FILE_HEADER.size + optional_bytes
        rows = [
            _SECTION_HEADER.unpack_from(head, table + index * _SECTION_HEADER.size)
            for index in range(count)
        ]
    except struct.error as error:
        raise InvalidArgument(f"{name} is not an EFI program") from error
    found: list[tuple[str, Section]] = []
    for title, virtual_bytes, _, _, start in rows:
        text = title.rstrip(b"\0").decode(errors="replace")
        if start % SECTOR_BYTES:
            raise InvalidArgument(f"{name}: section {text} begins within a sector")
        found.append((text, Section(start, virtual_bytes)))
    return found


def describe(read: Read, name: str = "the image") -> Description:
    """What the image that *read* reads is.

    Raises:
        InvalidArgument: it is no unified kernel image of this system.
        OSError: from *read*.
    """
    sections = parse_sections(read(0, HEAD_BYTES), name)
    for wanted in (".linux", ".initrd", ".cmdline", ".osrel"):
        if wanted not in sections:
            raise InvalidArgument(f"{name} is not a unified kernel image: it has no {wanted}")

    def text(section: str) -> str:
        offset, size = sections[section]
        return read(offset, min(size, MAX_TEXT_BYTES)).decode(errors="replace").strip("\0\n ")

    words = dict(line.partition("=")[::2] for line in text(".osrel").splitlines())
    if words.get("ID") != "orlop":
        raise InvalidArgument(f"{name} is not an image of Orlop")
    return Description(
        words.get("VERSION_ID", ""),
        words.get("BUILD_ID", ""),
        text(".cmdline"),
        sections[".linux"].sectors,
        sections[".initrd"].sectors,
        words.get(EXTRAS_WORD, ""),
    )
