"""The kernel in an image: whole, damaged anywhere, cut off, and what is not looked at."""

from __future__ import annotations

import lzma
import os
import random
import struct
from typing import TYPE_CHECKING

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.lib.kernel_payload import check_kernel

if TYPE_CHECKING:
    from pathlib import Path

FIRST_SECTOR, SETUP_SECTORS, OFFSET = 3, 5, 100
PLAIN = random.Random(1).randbytes(50_000) + bytes(200_000)
START = (FIRST_SECTOR + SETUP_SECTORS + 1) * 512 + OFFSET


def kernel(plain: bytes = PLAIN, packed: bytes | None = None) -> bytes:
    """An image with a kernel in it."""
    if packed is None:
        packed = lzma.compress(plain, check=lzma.CHECK_CRC32)
    payload = packed + struct.pack("<I", len(plain))
    head = bytearray((SETUP_SECTORS + 1) * 512 + OFFSET)
    head[0x1F1] = SETUP_SECTORS
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", head, 0x248, OFFSET, len(payload))
    return bytes(FIRST_SECTOR * 512) + head + payload + bytes(999)


def check(image: bytes) -> None:
    check_kernel(lambda offset, size: image[offset : offset + size], (FIRST_SECTOR, 99), "the file")


def test_whole() -> None:
    check(kernel())
    check(kernel(b""))


def test_one_bit_anywhere() -> None:
    whole, rng = kernel(), random.Random(2)
    end = len(whole) - 999
    for at in {*range(START, START + 30), *range(end - 30, end)} | {
        rng.randrange(START, end) for _ in range(100)
    }:
        image = bytearray(whole)
        image[at] ^= 1 << rng.randrange(8)
        with pytest.raises(InvalidArgument, match="the kernel in the file is damaged"):
            check(bytes(image))


def test_one_bit_of_where_it_is() -> None:
    whole, at = kernel(), FIRST_SECTOR * 512 + 0x248
    for bit in range(64):
        image = bytearray(whole)
        image[at + bit // 8] ^= 1 << bit % 8
        with pytest.raises(InvalidArgument, match="damaged"):
            check(bytes(image))


@pytest.mark.parametrize("size", [0, 3])
def test_of_no_size(size: int, tmp_path: Path) -> None:
    image = bytearray(kernel())
    struct.pack_into("<I", image, FIRST_SECTOR * 512 + 0x24C, size)
    (tmp_path / "image").write_bytes(image)
    with (tmp_path / "image").open("rb") as file, pytest.raises(InvalidArgument, match="damaged"):
        check_kernel(lambda offset, size: os.pread(file.fileno(), size, offset), (3, 9), "it")


@pytest.mark.parametrize("left", [0, 1, 40, 10_000])
def test_cut_off(left: int) -> None:
    with pytest.raises(InvalidArgument, match="damaged"):
        check(kernel()[: START + 6 + left])
    packed = lzma.compress(PLAIN)
    with pytest.raises(InvalidArgument, match="damaged"):
        check(kernel(packed=packed[: len(packed) - 1 - left]))


def test_what_is_not_looked_at() -> None:
    check(b"")
    check(kernel().replace(b"HdrS", b"none"))
    check(kernel(packed=b"\x28\xb5\x2f\xfd and so on"))
