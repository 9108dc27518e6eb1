"""Recognises a file system by the bytes of its superblock: kind, label and UUID.

Only what can hold Orlop's state, what is opened or put together to find it, and swap areas are
known. Fixed offsets, no parsing beyond them: what is on a disk may be hostile, and PID 1 reads it.
Sources: Linux 6.12 fs/ext4/ext4.h, fs/xfs/libxfs/xfs_format.h, include/uapi/linux/btrfs_tree.h,
fs/erofs/erofs_fs.h, include/linux/swap.h, include/uapi/linux/raid/md_p.h;
LUKS2 On-Disk Format 1.1.3, 2.1; lvm2 lib/format_text/layout.h.
"""

from __future__ import annotations

from dataclasses import dataclass

HEAD_BYTES = 0x10000 + 0x1000
"""How much of the beginning of a device `identify` looks at."""

_EXT_OFFSET, _EXT_MAGIC = 0x400, b"\x53\xef"
_XFS_MAGIC = b"XFSB"
_BTRFS_OFFSET, _BTRFS_MAGIC = 0x10000, b"_BHRfS_M"

_LUKS2_MAGIC = b"LUKS\xba\xbe\0\2"
_EROFS_MAGIC = b"\xe2\xe1\xf5\xe0"
_SWAP_MAGIC = b"SWAPSPACE2"

RAID, LVM, LUKS = "linux_raid_member", "LVM2_member", "crypto_LUKS"
"""Kinds of what has to be opened or put together first, in the words of blkid."""
PARTS = (RAID, LVM)
_RAID_PLACES, _RAID_MAGIC = (0, 4096), b"\xfc\x4e\x2b\xa9"
RAID_BYTES = 256
"""What `identify_array` looks at."""
_PARTITIONED = b"\x55\xaa"
_LVM_MAGIC = b"LABELONE"

_EXT_INCOMPAT_JOURNAL_DEVICE = 0x0008
_EXT_VALID = 0x0001  # and not 0x0002, "errors detected"


@dataclass(frozen=True, slots=True)
class Superblock:
    """What a device holds. *uuid* is in the usual form with dashes, lower case.

    *clean* is false when the file system says of itself that it needs a check before a mount; a
    journal that wants to be replayed is no such case, the kernel does that.
    """

    fstype: str
    label: str
    uuid: str
    clean: bool = True


def identify(head: bytes) -> Superblock | None:
    """The file system whose first `HEAD_BYTES` (or fewer, on a small device) are *head*."""
    return (
        _member(head)
        or _luks(head)
        or _ext(head)
        or _xfs(head)
        or _btrfs(head)
        or _erofs(head)
        or _swap(head)
    )


def array_places(size_bytes: int) -> tuple[int, int]:
    """Where a device of this size has the superblock of an array that keeps it at the end.

    Of metadata 0.90 and 1.0: before it a file system is where it would be without an array.
    """
    sectors = size_bytes // 512
    return ((sectors & ~127) - 128) * 512, ((sectors - 16) & ~7) * 512


def identify_array(head: bytes, place: int, block: bytes) -> Superblock | None:
    """The array whose superblock is *block*, at *place*, one of `array_places`.

    That of a disk may be in the last partition as well: of which it is, metadata 1.0 says itself.
    """
    if block[:4] != _RAID_MAGIC or len(block) < RAID_BYTES:
        return None
    version = int.from_bytes(block[4:8], "little")
    if version == 1 and int.from_bytes(block[128:136], "little") * 512 != place:
        return None
    if version == 0 and head[510:512] == _PARTITIONED:
        return None
    return Superblock(RAID, "", "")


def _ext(head: bytes) -> Superblock | None:
    block = head[_EXT_OFFSET : _EXT_OFFSET + 1024]
    if len(block) < 1024 or block[0x38:0x3A] != _EXT_MAGIC:
        return None
    if int.from_bytes(block[0x60:0x64], "little") & _EXT_INCOMPAT_JOURNAL_DEVICE:
        return None  # the external journal of another file system
    clean = int.from_bytes(block[0x3A:0x3C], "little") == _EXT_VALID
    return Superblock("ext4", _text(block[0x78:0x88]), _uuid(block[0x68:0x78]), clean)


def _xfs(head: bytes) -> Superblock | None:
    if len(head) < 512 or head[:4] != _XFS_MAGIC:
        return None
    return Superblock("xfs", _text(head[108:120]), _uuid(head[32:48]))


def _btrfs(head: bytes) -> Superblock | None:
    block = head[_BTRFS_OFFSET : _BTRFS_OFFSET + 0x1000]
    if len(block) < 0x1000 or block[0x40:0x48] != _BTRFS_MAGIC:
        return None
    return Superblock("btrfs", _text(block[0x12B : 0x12B + 256]), _uuid(block[0x20:0x30]))


def _member(head: bytes) -> Superblock | None:
    """A part of something larger: whatever file system shines through is not to be used."""
    for at in _RAID_PLACES:
        if head[at : at + 4] == _RAID_MAGIC:  # names and numbers are the array's
            return Superblock(RAID, _text(head[at + 32 : at + 64]), _uuid(head[at + 16 : at + 32]))
    if any(head[at : at + 8] == _LVM_MAGIC for at in range(0, 2048, 512)):
        return Superblock(LVM, "", "")
    return None


def _luks(head: bytes) -> Superblock | None:
    """An encrypted disk of version 2, which has a label."""
    if len(head) < 512 or head[:8] != _LUKS2_MAGIC:
        return None
    return Superblock(LUKS, _text(head[24:72]), _text(head[168:208]).lower())


def _erofs(head: bytes) -> Superblock | None:
    block = head[_EXT_OFFSET : _EXT_OFFSET + 128]
    if len(block) < 128 or block[:4] != _EROFS_MAGIC:
        return None
    return Superblock("erofs", _text(block[64:80]), _uuid(block[48:64]))


def _swap(head: bytes) -> Superblock | None:
    if len(head) < 4096 or head[4086:4096] != _SWAP_MAGIC:
        return None
    return Superblock("swap", _text(head[1052:1068]), _uuid(head[1036:1052]))


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "replace").strip()


def _uuid(field: bytes) -> str:
    digits = field.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
