"""GRUB for a BIOS on a disk: where its parts go, and how each finds the next.

The code in the first sector reads one sector, which reads the rest by a list of blocks; both have
to be told where on this disk. `grub-bios-setup` does that for real disks only. The loader's file is
GRUB's `boot_hybrid.img` (512 bytes) with `core.img` behind it; an Orlop medium holds the same two.
Sources: GRUB 2.12 grub-core/boot/i386/pc/{boot,diskboot}.S, include/grub/i386/pc/boot.h.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from orlop.lib.errors import InvalidArgument

SECTOR_BYTES = 512
BOOT_CODE_BYTES = 440
ELTORITO_BYTES = 2048
"""What precedes core.img in the file that a BIOS starts from a CD."""

_CORE_SECTOR = struct.Struct("<Q")
_CORE_SECTOR_AT = 432
_BLOCK_LIST = struct.Struct("<QHH")
_BLOCK_LIST_AT = SECTOR_BYTES - _BLOCK_LIST.size
_FIRST_BLOCK = 2
"""What grub-mkimage puts where the list of blocks begins."""
_SEGMENT = 0x820
"""Where diskboot loads what follows it: behind itself, which is at 0x8000."""


@dataclass(frozen=True, slots=True)
class Placed:
    """*boot_code* for the first sector of the disk, *core* for the partition.

    Without *boot_code* a BIOS does not try to start the disk.
    """

    boot_code: bytes
    core: bytes


def place(
    loader: bytes, start_bytes: int, size_bytes: int, sector_bytes: int = SECTOR_BYTES
) -> Placed:
    """Make the file *loader* ready for a partition at *start_bytes* with *size_bytes*.

    GRUB counts in sectors of 512 bytes; of a disk that has others a BIOS cannot start it.

    Raises:
        InvalidArgument: *loader* is none, or does not fit.
    """
    code, core = loader[:SECTOR_BYTES], loader[SECTOR_BYTES:]
    core += bytes(-len(core) % SECTOR_BYTES)
    sectors = len(core) // SECTOR_BYTES
    if code[510:] != b"\x55\xaa" or sectors < 2:
        raise InvalidArgument("this is not a boot loader for a BIOS")
    if _BLOCK_LIST.unpack_from(core, _BLOCK_LIST_AT)[2] != _SEGMENT:
        raise InvalidArgument("the boot loader's second part does not begin as GRUB's does")
    if len(core) > size_bytes or sectors > 0xFFFF:
        raise InvalidArgument(f"a boot loader of {len(core)} bytes is too large")
    first = start_bytes // SECTOR_BYTES
    head = _CORE_SECTOR.pack(first)
    blocks = _BLOCK_LIST.pack(first + 1, sectors - 1, _SEGMENT)
    return Placed(
        code[:_CORE_SECTOR_AT] + head if sector_bytes == SECTOR_BYTES else b"",
        core[:_BLOCK_LIST_AT] + blocks + core[SECTOR_BYTES:],
    )


def from_medium(first_sector: bytes, eltorito: bytes) -> bytes:
    """The loader's file out of an Orlop medium: its first sector, and its `/boot/bios.img`.

    What the medium's own places put into both is taken out, so that it is equal to what was built.

    Raises:
        InvalidArgument: they are too short.
    """
    core = eltorito[ELTORITO_BYTES:]
    if len(first_sector) < SECTOR_BYTES or len(core) < 2 * SECTOR_BYTES:
        raise InvalidArgument("the medium has no boot loader for a BIOS")
    _, length, segment = _BLOCK_LIST.unpack_from(core, _BLOCK_LIST_AT)
    blocks = _BLOCK_LIST.pack(_FIRST_BLOCK, length, segment)
    core = core[:_BLOCK_LIST_AT] + blocks + core[SECTOR_BYTES:]
    return normal_code(first_sector) + core


def normal_code(sector: bytes) -> bytes:
    """The code of *sector* without a partition table and a disk's places."""
    return sector[:_CORE_SECTOR_AT].ljust(510, b"\0") + b"\x55\xaa"
