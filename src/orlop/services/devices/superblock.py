"""Which file system, swap area or container is on a block device, with its label and UUID.

Only what is needed for names under /dev/disk; nothing is mounted or trusted: every reader takes a
bounded piece of the device, checks what it indexes, and answers None for anything it does not know.
The bytes may be hostile. The first match in `PROBES` wins; members of RAID and LVM come first,
because a file system may shine through them that must not be used directly.

Sources: Linux 6.12 fs/ext4/ext4.h, fs/xfs/libxfs/xfs_format.h, include/uapi/linux/btrfs_tree.h,
fs/erofs/erofs_fs.h, include/linux/swap.h, include/uapi/linux/raid/md_p.h; ECMA-119; Microsoft FAT
specification; LUKS on-disk format 1.2.3 and 2 (1.0.0).
"""

from collections.abc import Callable
from struct import unpack_from
from typing import NamedTuple

type Read = Callable[[int, int], bytes]
"""`read(offset, size)`: up to *size* bytes from *offset*, fewer at the end of the device."""


class Identity(NamedTuple):
    """What a device holds. *label* is raw; both may be empty. *member*: part of something
    larger."""

    kind: str
    label: bytes = b""
    uuid: str = ""
    member: bool = False


def identify(read: Read, size_bytes: int) -> Identity | None:
    """What is on the device of *size_bytes* that *read* reads; None if nothing is recognised.

    Raises:
        OSError: from *read*.
    """
    for probe in PROBES:
        found = probe(read, size_bytes)
        if found is not None:
            return found
    return None


def _text(raw: bytes) -> bytes:
    return raw.split(b"\0", 1)[0].rstrip(b" ")


def _uuid(raw: bytes) -> str:
    """In the usual grouping; nothing for one that is all zero, which means it was never set."""
    digits = raw.hex()
    if len(raw) != 16 or not any(raw):
        return ""
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _piece(read: Read, offset: int, size: int) -> bytes | None:
    data = read(offset, size) if offset >= 0 else b""
    return data if len(data) == size else None


def _raid_member(read: Read, size_bytes: int) -> Identity | None:
    """Linux md, with the superblock in front (1.1, 1.2) or at the end (1.0, 0.90)."""
    magic = b"\xfc\x4e\x2b\xa9"
    end_1_0 = ((size_bytes // 512 - 16) & ~7) * 512
    end_0_90 = (size_bytes & ~0xFFFF) - 0x10000
    for offset in (0, 4096, end_1_0, end_0_90):
        data = _piece(read, offset, 32)
        if data is not None and data[:4] == magic:
            return Identity("linux_raid_member", member=True)
    return None


def _lvm_member(read: Read, size_bytes: int) -> Identity | None:
    data = read(0, 2048)
    for offset in range(0, len(data) - 31, 512):
        if data[offset : offset + 8] == b"LABELONE" and data[offset + 24 : offset + 28] == b"LVM2":
            return Identity("LVM2_member", member=True)
    return None


def _luks(read: Read, size_bytes: int) -> Identity | None:
    data = _piece(read, 0, 208)
    if data is None or data[:6] != b"LUKS\xba\xbe":
        return None
    (version,) = unpack_from(">H", data, 6)
    label = _text(data[24:72]) if version == 2 else b""
    uuid = _text(data[168:208]).decode("ascii", "replace")
    if not all(char in "0123456789abcdefABCDEF-" for char in uuid):
        uuid = ""
    return Identity("crypto_LUKS", label, uuid)


def _ext(read: Read, size_bytes: int) -> Identity | None:
    data = _piece(read, 1024, 136)
    if data is None or data[0x38:0x3A] != b"\x53\xef":
        return None
    compatible, incompatible = unpack_from("<II", data, 0x5C)
    if incompatible & 0x8:
        return Identity("jbd", _text(data[0x78:0x88]), _uuid(data[0x68:0x78]), member=True)
    # Extents, 64 bit, flexible groups: only ext4 has these. A journal alone makes it ext3.
    kind = "ext4" if incompatible & 0x2C0 else "ext3" if compatible & 0x4 else "ext2"
    return Identity(kind, _text(data[0x78:0x88]), _uuid(data[0x68:0x78]))


def _xfs(read: Read, size_bytes: int) -> Identity | None:
    data = _piece(read, 0, 120)
    if data is None or data[:4] != b"XFSB":
        return None
    return Identity("xfs", _text(data[108:120]), _uuid(data[32:48]))


def _btrfs(read: Read, size_bytes: int) -> Identity | None:
    data = _piece(read, 0x10000, 0x22B)
    if data is None or data[0x40:0x48] != b"_BHRfS_M":
        return None
    return Identity("btrfs", _text(data[0x12B:0x22B]), _uuid(data[0x20:0x30]))


def _erofs(read: Read, size_bytes: int) -> Identity | None:
    data = _piece(read, 1024, 80)
    if data is None or data[:4] != b"\xe2\xe1\xf5\xe0":
        return None
    return Identity("erofs", _text(data[64:80]), _uuid(data[48:64]))


def _swap(read: Read, size_bytes: int) -> Identity | None:
    for page_bytes in (4096, 16384, 65536):
        data = _piece(read, 0, page_bytes)
        if data is not None and data[-10:] == b"SWAPSPACE2":
            return Identity("swap", _text(data[1052:1068]), _uuid(data[1036:1052]))
    return None


def _iso9660(read: Read, size_bytes: int) -> Identity | None:
    data = _piece(read, 16 * 2048, 2048)
    if data is None or data[:7] != b"\x01CD001\x01":
        return None
    # The date of the last change, or else of creation, is what others show as the UUID.
    for offset in (830, 813):
        date = data[offset : offset + 16]
        if date.isdigit() and date != b"0" * 16:
            digits = date.decode()
            pairs = (digits[index : index + 2] for index in range(4, 16, 2))
            return Identity("iso9660", _text(data[40:72]), "-".join((digits[:4], *pairs)))
    return Identity("iso9660", _text(data[40:72]))


def _vfat(read: Read, size_bytes: int) -> Identity | None:
    boot = _piece(read, 0, 512)
    if boot is None or boot[510:512] != b"\x55\xaa":
        return None
    if boot[82:90] == b"FAT32   ":
        serial, label = boot[67:71], boot[71:82]
    elif boot[54:59] in (b"FAT12", b"FAT16"):
        serial, label = boot[39:43], boot[43:54]
    else:
        return None
    root = _fat_root(boot)
    if root is None:
        return None
    label = _fat_label(read(*root)) or label
    (number,) = unpack_from("<I", serial)
    uuid = f"{number >> 16:04X}-{number & 0xFFFF:04X}" if number else ""
    return Identity("vfat", b"" if label == b"NO NAME    " else _text(label), uuid)


def _fat_root(boot: bytes) -> tuple[int, int] | None:
    """Where the root directory begins and how much of it is worth reading, in bytes."""
    sector_bytes, cluster_sectors, reserved, fats, entries = unpack_from("<HBHBH", boot, 11)
    fat_sectors = unpack_from("<H", boot, 22)[0] or unpack_from("<I", boot, 36)[0]
    if sector_bytes not in (512, 1024, 2048, 4096) or not cluster_sectors or not reserved:
        return None
    if fats not in (1, 2) or not fat_sectors:
        return None
    start = (reserved + fats * fat_sectors) * sector_bytes
    if entries:  # FAT12 and FAT16: a fixed place
        return start, min(entries, 512) * 32
    (cluster,) = unpack_from("<I", boot, 44)
    if cluster < 2:
        return None
    return start + (cluster - 2) * cluster_sectors * sector_bytes, 4096


def _fat_label(directory: bytes) -> bytes:
    """The name of the entry that is a volume label; labels are changed there, not in the boot
    sector."""
    for offset in range(0, len(directory) - 31, 32):
        entry = directory[offset : offset + 32]
        if entry[0] == 0:
            break
        if entry[0] != 0xE5 and entry[11] & 0x3F != 0x0F and entry[11] & 0x08:
            return entry[:11]
    return b""


PROBES: tuple[Callable[[Read, int], Identity | None], ...] = (
    _raid_member,
    _lvm_member,
    _luks,
    _ext,
    _xfs,
    _btrfs,
    _erofs,
    _swap,
    _iso9660,
    _vfat,
)
