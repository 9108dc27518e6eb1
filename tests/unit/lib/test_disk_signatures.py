"""What is on a disk: with real file systems where their programs are there, else by hand."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from orlop.lib.disk_signatures import UNKNOWN, find_signatures
from orlop.lib.partition_table import make_gpt

MIB = 1 << 20
SIZE = 160 * MIB


def blank(path: Path, size: int = SIZE) -> Path:
    path.touch()
    os.truncate(path, size)
    return path


def found(path: Path) -> list[str]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        read = lambda at, size: os.pread(descriptor, size, at)  # noqa: E731
        return find_signatures(read, path.stat().st_size)
    finally:
        os.close(descriptor)


def put(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset, os.SEEK_SET if offset >= 0 else os.SEEK_END)
        file.write(data)


def test_nothing_at_all(tmp_path: Path) -> None:
    assert found(blank(tmp_path / "disk")) == []
    assert found(blank(tmp_path / "tiny", 512)) == []
    assert found(blank(tmp_path / "none", 0)) == []


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (["mkfs.ext4", "-q", "-F"], "ext2, ext3 or ext4"),
        (["mkfs.ext4", "-q", "-F", "-b", "1024"], "ext2, ext3 or ext4"),
        (["mkfs.xfs", "-q", "-f", "-d", "size=160m", "--unsupported"], "XFS"),
        (["mkfs.btrfs", "-q"], "Btrfs"),
        (["mkfs.vfat"], "partition table or a boot sector"),
        (["mkfs.vfat", "-F", "32"], "FAT"),
        (["mkswap", "-q"], "a swap area"),
    ],
)
def test_what_programs_make(tmp_path: Path, command: list[str], what: str) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not here")
    disk = blank(tmp_path / "disk", 400 * MIB if "xfs" in command[0] else SIZE)
    done = subprocess.run([*command, disk], capture_output=True, check=False, env=os.environ)
    if done.returncode:
        pytest.skip(f"{command[0]}: {done.stderr.decode()[-200:]}")
    assert any(what in text for text in found(disk)), found(disk)


def md(magic_at: int) -> tuple[int, bytes]:
    return magic_at, b"\xfc\x4e\x2b\xa9" + bytes(60)


END_1_0 = ((SIZE // 512 - 16) & ~7) * 512
END_0_90 = (SIZE & ~0xFFFF) - 0x10000


@pytest.mark.parametrize(
    ("offset", "data", "what"),
    [
        (*md(0), "RAID"),
        (*md(4096), "RAID"),
        (*md(END_1_0), "RAID"),
        (*md(END_0_90), "RAID"),
        (END_0_90, b"\xa9\x2b\x4e\xfc", "RAID"),
        (-1024, b"Intel Raid ISM Cfg Sig. 1.3.00", "Intel"),
        (-512, b"\xde\x11\xde\x11", "DDF"),
        (512, b"LABELONE" + bytes(16) + b"LVM2 001", "LVM"),
        (0, b"LUKS\xba\xbe\0\2", "LUKS"),
        (0x4000, b"SKUL\xba\xbe\0\2", "LUKS"),
        (0x400000, b"SKUL\xba\xbe\0\2", "LUKS"),
        (3, b"-FVE-FS-", "BitLocker"),
        (128 * 1024 + 5 * 1024, struct.pack("<Q", 0x00BAB10C), "ZFS"),
        (SIZE - 256 * 1024 + 131 * 1024, struct.pack(">Q", 0x00BAB10C), "ZFS"),
        (64 * MIB + 64, b"_BHRfS_M", "Btrfs"),
        (-512, b"EFI PART", "GPT"),
        (3, b"NTFS    ", "NTFS"),
        (32, b"NXSB", "APFS"),
        (32769, b"CD001", "ISO 9660"),
        (MIB, b"\x0d\xd0\x01\xc0", "VMFS"),
        (0, b"bluestore block device\n", "Ceph"),
        (4096 + 24, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81"), "bcache"),
        (70 * 1024, b"x", UNKNOWN),
        (SIZE - 7, b"x", UNKNOWN),
    ],
)
def test_by_hand(tmp_path: Path, offset: int, data: bytes, what: str) -> None:
    disk = blank(tmp_path / "disk")
    put(disk, offset, data)
    assert any(what in text for text in found(disk)), found(disk)


def test_a_partition_table_whose_partitions_are_empty(tmp_path: Path) -> None:
    disk = blank(tmp_path / "disk")
    for write in make_gpt("x", SIZE, 512, bytes(32)).writes:
        put(disk, write.offset_bytes, write.data)
    assert found(disk)[0] == "a GPT partition table"
    put(disk, 0, bytes(34 * 512))  # what people do who believe that this is enough
    assert found(disk) == ["a GPT partition table"]


def test_an_unreadable_disk_is_not_an_empty_one() -> None:
    def read(offset: int, size: int) -> bytes:
        raise OSError(5, "broken")

    with pytest.raises(OSError, match="broken"):
        find_signatures(read, SIZE)
