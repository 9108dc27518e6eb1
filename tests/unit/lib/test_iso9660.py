"""Files are found in a CD's file system; a damaged one is an error and never a loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orlop.lib.errors import InvalidArgument, NotFound, OrlopError
from orlop.lib.iso9660 import BLOCK_BYTES, Extent, find, read_label

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCKS = 24


def record(name: bytes, block: int, size: int, *, directory: bool = False) -> bytes:
    length = 33 + len(name) + (1 - len(name) % 2)
    data = bytearray(length)
    data[0] = length
    data[2:6], data[10:14] = block.to_bytes(4, "little"), size.to_bytes(4, "little")
    data[25], data[32] = 2 if directory else 0, len(name)
    data[33 : 33 + len(name)] = name
    return bytes(data)


@pytest.fixture
def image() -> bytearray:
    """/A.CFG, and /BOOT over two blocks, the second of which has ORLOP.EFI."""
    data = bytearray(BLOCKS * BLOCK_BYTES)
    descriptor = 16 * BLOCK_BYTES
    data[descriptor : descriptor + 7] = b"\x01CD001\x01"
    data[descriptor + 40 : descriptor + 72] = b"ORLOP".ljust(32)
    root = record(b"\0", 18, BLOCK_BYTES, directory=True)
    data[descriptor + 156 : descriptor + 156 + len(root)] = root
    top = root + record(b"A.CFG;1", 22, 5) + record(b"BOOT", 19, 2 * BLOCK_BYTES, directory=True)
    data[18 * BLOCK_BYTES : 18 * BLOCK_BYTES + len(top)] = top
    data[19 * BLOCK_BYTES : 19 * BLOCK_BYTES + len(root)] = root
    inner = record(b"ORLOP.EFI;1", 23, 1234)
    data[20 * BLOCK_BYTES : 20 * BLOCK_BYTES + len(inner)] = inner
    return data


def reader(data: bytearray) -> Callable[[int, int], bytes]:
    return lambda offset, size: bytes(data[offset : offset + size])


def test_files_are_found(image: bytearray) -> None:
    read = reader(image)
    assert read_label(read) == "ORLOP"
    assert find(read, "/a.cfg") == Extent(22 * BLOCK_BYTES, 5)
    assert find(read, "/boot/orlop.efi") == Extent(23 * BLOCK_BYTES, 1234)


@pytest.mark.parametrize("path", ["/b.cfg", "/boot", "/boot/none", "/a.cfg/orlop.efi"])
def test_what_is_not_there(image: bytearray, path: str) -> None:
    with pytest.raises(NotFound):
        find(reader(image), path)


def test_what_is_no_cd() -> None:
    read = reader(bytearray(BLOCKS * BLOCK_BYTES))
    assert read_label(read) is None
    with pytest.raises(InvalidArgument):
        find(read, "/a")


def test_every_damaged_byte_of_a_directory_ends(image: bytearray) -> None:
    for at in [*range(18 * BLOCK_BYTES, 18 * BLOCK_BYTES + 120)]:
        damaged = bytearray(image)
        damaged[at] ^= 0xFF
        try:
            find(reader(damaged), "/boot/orlop.efi")
        except OrlopError:
            pass
