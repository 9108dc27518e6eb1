"""Superblocks: made by hand byte by byte, broken in every way, and never an exception.

Images made by the real mkfs programs are in tests/engine/services/test_real_file_systems.py.
"""

import random
import struct

import pytest

from orlop.services.devices.superblock import PROBES, Identity, Read, identify

UUID = bytes(range(1, 17))
UUID_TEXT = "01020304-0506-0708-090a-0b0c0d0e0f10"


def image(size: int, *pieces: tuple[int, bytes]) -> bytes:
    data = bytearray(size)
    for offset, content in pieces:
        data[offset : offset + len(content)] = content
    return bytes(data)


def reader(data: bytes) -> Read:
    return lambda offset, size: data[offset : offset + size] if offset >= 0 else b""


def found(data: bytes) -> Identity | None:
    return identify(reader(data), len(data))


def ext(compatible: int, incompatible: int) -> bytes:
    return image(
        4096,
        (1024 + 0x38, b"\x53\xef"),
        (1024 + 0x5C, struct.pack("<II", compatible, incompatible)),
        (1024 + 0x68, UUID),
        (1024 + 0x78, b"ORLOP_STATE\0rest"),
    )


FAT_BOOT = struct.pack("<HBHBH", 512, 4, 4, 2, 512)
FAT16 = image(
    65536,
    (11, FAT_BOOT),
    (22, struct.pack("<H", 16)),
    (39, struct.pack("<I", 0x1234ABCD)),
    (43, b"NO NAME    FAT16   "),
    (510, b"\x55\xaa"),
    ((4 + 32) * 512, b"LONGNAME   \x0f" + b"\0" * 20 + b"BOOT LABEL \x08" + b"\0" * 20),
)
FAT32 = image(
    65536,
    (11, struct.pack("<HBHBH", 512, 1, 32, 2, 0)),
    (36, struct.pack("<I", 8)),
    (44, struct.pack("<I", 2)),
    (67, struct.pack("<I", 0x0001F00D)),
    (71, b"FROM BOOT  FAT32   "),
    (510, b"\x55\xaa"),
)

IMAGES = {
    "ext2": (ext(0, 0), Identity("ext2", b"ORLOP_STATE", UUID_TEXT)),
    "ext3": (ext(4, 2), Identity("ext3", b"ORLOP_STATE", UUID_TEXT)),
    "ext4": (ext(4, 0x2C2), Identity("ext4", b"ORLOP_STATE", UUID_TEXT)),
    "journal": (ext(0, 8), Identity("jbd", b"ORLOP_STATE", UUID_TEXT, member=True)),
    "xfs": (
        image(512, (0, b"XFSB"), (32, UUID), (108, b"data")),
        Identity("xfs", b"data", UUID_TEXT),
    ),
    "btrfs": (
        image(0x11000, (0x10040, b"_BHRfS_M"), (0x10020, UUID), (0x1012B, b"pool one")),
        Identity("btrfs", b"pool one", UUID_TEXT),
    ),
    "erofs": (
        image(4096, (1024, b"\xe2\xe1\xf5\xe0"), (1072, UUID), (1088, b"os")),
        Identity("erofs", b"os", UUID_TEXT),
    ),
    "swap": (
        image(8192, (4086, b"SWAPSPACE2"), (1036, UUID), (1052, b"swap0")),
        Identity("swap", b"swap0", UUID_TEXT),
    ),
    "iso9660": (
        image(
            36864,
            (32768, b"\x01CD001\x01"),
            (32808, b"ORLOP".ljust(32)),
            (32768 + 813, b"2020010203040506\0"),
            (32768 + 830, b"2026112308090705\0"),
        ),
        Identity("iso9660", b"ORLOP", "2026-11-23-08-09-07-05"),
    ),
    "vfat 16": (FAT16, Identity("vfat", b"BOOT LABEL", "1234-ABCD")),
    "vfat 32": (FAT32, Identity("vfat", b"FROM BOOT", "0001-F00D")),
    "luks1": (
        image(4096, (0, b"LUKS\xba\xbe\x00\x01"), (24, b"sha256"), (168, UUID_TEXT.encode())),
        Identity("crypto_LUKS", b"", UUID_TEXT),
    ),
    "luks2": (
        image(4096, (0, b"LUKS\xba\xbe\x00\x02"), (24, b"vault"), (168, UUID_TEXT.encode())),
        Identity("crypto_LUKS", b"vault", UUID_TEXT),
    ),
    "raid": (
        image(8192, (4096, b"\xfc\x4e\x2b\xa9"), (1024 + 0x38, b"\x53\xef")),
        Identity("linux_raid_member", member=True),
    ),
    "raid at the end": (
        image(65536 * 3, (65536 * 2, b"\xfc\x4e\x2b\xa9"), (1024 + 0x38, b"\x53\xef")),
        Identity("linux_raid_member", member=True),
    ),
    "lvm": (
        image(4096, (512, b"LABELONE"), (536, b"LVM2 001")),
        Identity("LVM2_member", member=True),
    ),
}


@pytest.mark.parametrize(("data", "identity"), IMAGES.values(), ids=IMAGES)
def test_known(data: bytes, identity: Identity) -> None:
    assert found(data) == identity


@pytest.mark.parametrize("data", [b"", b"\0" * 512, b"\xff" * 70000, b"\x55\xaa" * 40000])
def test_nothing(data: bytes) -> None:
    assert found(data) is None


@pytest.mark.parametrize("data", [data for data, _ in IMAGES.values()], ids=IMAGES)
def test_truncated_anywhere_is_no_error(data: bytes) -> None:
    ends = [0, 1, 511, 512, 1023, 1024, 1100, 1160, 2048, 4095, 32768, 33000, 65535, 65600]
    for end in ends:
        found(data[:end])


@pytest.mark.parametrize("data", [data for data, _ in IMAGES.values()], ids=IMAGES)
def test_hostile_bytes_are_no_error(data: bytes) -> None:
    random.seed(2)
    for _ in range(40):
        broken = bytearray(data)
        for _ in range(20):
            place = random.randrange(random.choice([len(broken), min(600, len(broken))]))
            broken[place] = random.randrange(256)
        found(bytes(broken))


def test_reads_are_bounded() -> None:
    """No reader asks for more than a megabyte in all, whatever the device says of itself."""
    asked = 0

    def read(offset: int, size: int) -> bytes:
        nonlocal asked
        asked += size
        return b"\xff" * size

    for probe in PROBES:
        probe(read, 1 << 62)
    assert asked < 1 << 20


def test_unset_uuid_is_none() -> None:
    data = image(512, (0, b"XFSB"), (108, b"data"))
    assert found(data) == Identity("xfs", b"data", "")


def test_luks_uuid_must_look_like_one() -> None:
    data = image(4096, (0, b"LUKS\xba\xbe\x00\x02"), (168, b"../../../etc"))
    assert found(data) == Identity("crypto_LUKS", b"", "")
