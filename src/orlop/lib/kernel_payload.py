"""Whether the kernel in an image can be unpacked, which it does itself when it is started.

One for x86 is a small program that has the real kernel in it, compressed. If that is damaged the
program stops the machine, under no watchdog yet; so it is tried before the image is handed on.
Source: Linux, Documentation/arch/x86/boot.rst (2.08: payload_offset, payload_length).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from orlop.lib.errors import InvalidArgument
from orlop.lib.unified_image import SECTOR_BYTES

if TYPE_CHECKING:
    from orlop.lib.unified_image import Read

PART_BYTES = 1 << 16
MEMORY_BYTES = 192 << 20
"""Of the decompressor, which takes what it uses of that."""

_HEAD_BYTES = 0x250
_SIGNATURE, _SETUP_SECTORS, _PAYLOAD = 0x202, 0x1F1, 0x248
_XZ = b"\xfd7zXZ\0"
_OTHERS = (b"\x1f\x8b\x08", b"BZh", b"\x5d\0\0", b"\x89LZO", b"\x02!L\x18", b"\x28\xb5\x2f\xfd")
"""How what other programs have compressed begins: gzip, bzip2, lzma, lzop, lz4, zstd."""
_SIZE = struct.Struct("<I")
"""Of what was compressed: the last bytes of the payload."""


class Payload(NamedTuple):
    """*plain_bytes* compressed to *size_bytes* at *offset_bytes* of an image."""

    offset_bytes: int
    size_bytes: int
    plain_bytes: int


def check_kernel(read: Read, kernel: tuple[int, int], name: str) -> None:
    """Unpack the kernel at the place *kernel* of the image called *name* that *read* reads. What
    the boot loader would not start, or another program than xz has compressed, is not looked at.

    Raises:
        InvalidArgument: it is damaged. OSError: from *read*.
    """
    payload = find_payload(read, kernel[0] * SECTOR_BYTES)
    if payload is None or read(payload.offset_bytes, len(_XZ)).startswith(_OTHERS):
        return
    end = payload.offset_bytes + payload.size_bytes
    if _unpacked_bytes(read, payload.offset_bytes, end) != payload.plain_bytes:
        raise InvalidArgument(f"the kernel in {name} is damaged: it cannot be unpacked")


def find_payload(read: Read, at: int) -> Payload | None:
    """What is compressed in the kernel that begins at the offset *at*; None if that is no kernel
    which a boot loader would start.

    Raises:
        OSError: from *read*.
    """
    head = read(at, _HEAD_BYTES)
    if len(head) < _HEAD_BYTES or not head.startswith(b"HdrS", _SIGNATURE):
        return None
    offset, size = struct.unpack_from("<II", head, _PAYLOAD)
    start = at + (head[_SETUP_SECTORS] + 1) * SECTOR_BYTES + offset
    size -= _SIZE.size
    (plain_bytes,) = _SIZE.unpack(read(start + size, _SIZE.size).ljust(_SIZE.size))
    return Payload(start, size, plain_bytes)


def _unpacked_bytes(read: Read, at: int, end: int) -> int:
    """The size of what is compressed there; -1 if that is damaged."""
    import lzma

    unpacker, done = lzma.LZMADecompressor(lzma.FORMAT_XZ, MEMORY_BYTES), 0
    try:
        while not unpacker.eof:
            data = read(at, max(0, min(PART_BYTES, end - at))) if unpacker.needs_input else b""
            if unpacker.needs_input and not data:
                return -1
            at += len(data)
            done += len(unpacker.decompress(data, PART_BYTES))
    except lzma.LZMAError:
        return -1
    return done
