"""What lies on a disk: every signature that somebody could miss if the disk were formatted.

Partition tables, file systems, members of RAID and of volume groups, encrypted disks, swap, disk
formats of hypervisors and databases; and, last, any byte that is not zero where those would be. It
is asked before a disk is formatted, so a disk it does not know must look used, not empty. Pure.

Sources: libblkid's probes (util-linux 2.41), each file system's own header files in Linux 6.12.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    type Read = Callable[[int, int], bytes]
    """`read(offset, size)`: up to *size* bytes from *offset*, fewer at the end of the device."""

KIB, MIB = 1 << 10, 1 << 20
EDGE_BYTES = MIB
"""At both ends of a disk, this much has to be zero."""

UNKNOWN = "data of an unknown kind"

_SIGNATURES: tuple[tuple[str, int, bytes], ...] = (
    ("a GPT partition table", 512, b"EFI PART"),
    ("a GPT partition table", 4096, b"EFI PART"),
    ("a GPT partition table", -512, b"EFI PART"),
    ("a GPT partition table", -4096, b"EFI PART"),
    ("an encrypted disk (LUKS)", 0, b"LUKS\xba\xbe"),
    *(("an encrypted disk (LUKS)", 0x4000 << n, b"SKUL\xba\xbe") for n in range(9)),
    ("an encrypted disk (BitLocker)", 3, b"-FVE-FS-"),
    *(("a volume of LVM", sector * 512, b"LABELONE") for sector in range(4)),
    ("a member of a RAID", 0, b"\xfc\x4e\x2b\xa9"),
    ("a member of a RAID", 4 * KIB, b"\xfc\x4e\x2b\xa9"),
    ("a member of a RAID (Intel)", -1024, b"Intel Raid ISM Cfg Sig. "),
    ("a member of a RAID (DDF)", -512, b"\xde\x11\xde\x11"),
    ("a cache of bcache", 4 * KIB + 24, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca"),
    ("a file system, bcachefs", 4 * KIB + 24, b"\xc6\x85\x73\xf6\x66\xce\x90\xa9"),
    ("a pool of Stratis", 512 + 4, b"!Stra0tis\x86\xff\x02"),
    ("a file system, ext2, ext3 or ext4", 1080, b"\x53\xef"),
    ("a file system, XFS", 0, b"XFSB"),
    ("a file system, Btrfs", 64 * KIB + 64, b"_BHRfS_M"),
    ("a file system, Btrfs", 64 * MIB + 64, b"_BHRfS_M"),
    ("a file system, F2FS", 1024, b"\x10\x20\xf5\xf2"),
    ("a file system, NILFS2", 1030, b"\x34\x34"),
    ("a file system, JFS", 32 * KIB, b"JFS1"),
    ("a file system, ReiserFS", 64 * KIB + 52, b"ReIsEr"),
    ("a file system, GFS2", 64 * KIB, b"\x01\x16\x19\x70"),
    ("a file system, OCFS2", 2 * KIB, b"OCFSV2"),
    ("a file system, OCFS2", 4 * KIB, b"OCFSV2"),
    ("a file system, EROFS", 1024, b"\xe2\xe1\xf5\xe0"),
    ("a file system, SquashFS", 0, b"hsqs"),
    ("a file system, NTFS", 3, b"NTFS    "),
    ("a file system, exFAT", 3, b"EXFAT   "),
    ("a file system, FAT", 82, b"FAT32   "),
    ("a file system, FAT", 54, b"FAT1"),
    ("a file system, HFS+", 1024, b"H+"),
    ("a file system, HFS+", 1024, b"HX"),
    ("a file system, APFS", 32, b"NXSB"),
    ("a file system, ISO 9660", 32 * KIB + 1, b"CD001"),
    ("a file system, UDF", 32 * KIB + 1, b"BEA01"),
    ("a file system, VMFS", MIB, b"\x0d\xd0\x01\xc0"),
    *(("a swap area", page - 10, b"SWAPSPACE2") for page in (4096, 8192, 16384, 65536)),
    ("a hibernated system", 4086, b"S1SUSPEND"),
    ("a disk of Ceph", 0, b"bluestore block device"),
    ("a disk of Oracle ASM", 32, b"ORCLDISK"),
    ("a partition table or a boot sector", 510, b"\x55\xaa"),
)

_RAID_MAGIC = b"\xfc\x4e\x2b\xa9"
_ZFS_MAGICS = ((0x00BAB10C).to_bytes(8, "little"), (0x00BAB10C).to_bytes(8, "big"))
_ZFS_LABEL_BYTES, _ZFS_UBERBLOCKS = 256 * KIB, 128 * KIB


def find_signatures(read: Read, size_bytes: int) -> list[str]:
    """What is on the disk of *size_bytes*, in words, each once; empty only for an empty disk.

    Raises:
        OSError: from *read*.
    """
    found = [
        name
        for name, offset, magic in _SIGNATURES
        if _at(read, offset if offset >= 0 else size_bytes + offset, magic)
    ]
    found += _raid_at_the_end(read, size_bytes)
    found += _zfs(read, size_bytes)
    if not found and not all(_is_zero(read, at) for at in (0, max(0, size_bytes - EDGE_BYTES))):
        found.append(UNKNOWN)
    return list(dict.fromkeys(found))


def _at(read: Read, offset: int, magic: bytes) -> bool:
    return offset >= 0 and read(offset, len(magic)) == magic


def _raid_at_the_end(read: Read, size_bytes: int) -> Iterator[str]:
    """Linux md with metadata 1.0 and 0.90, the latter also of machines of the other byte order."""
    for offset in (((size_bytes // 512 - 16) & ~7) * 512, (size_bytes & ~0xFFFF) - 0x10000):
        if any(_at(read, offset, magic) for magic in (_RAID_MAGIC, _RAID_MAGIC[::-1])):
            yield "a member of a RAID"


def _zfs(read: Read, size_bytes: int) -> Iterator[str]:
    """A pool's four labels, two at each end, have a ring of uberblocks."""
    whole = size_bytes // _ZFS_LABEL_BYTES * _ZFS_LABEL_BYTES
    for label in (0, 1, -2, -1):
        start = label * _ZFS_LABEL_BYTES + (whole if label < 0 else 0)
        if start < 0:
            continue
        ring = read(start + _ZFS_UBERBLOCKS, _ZFS_LABEL_BYTES - _ZFS_UBERBLOCKS)
        if any(ring[at : at + 8] in _ZFS_MAGICS for at in range(0, len(ring), KIB)):
            yield "a pool of ZFS"


def _is_zero(read: Read, offset: int) -> bool:
    data = read(offset, EDGE_BYTES)
    return data.count(0) == len(data)
