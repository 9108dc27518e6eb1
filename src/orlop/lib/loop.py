"""Loop devices: files as block devices, for file systems that cannot be mounted from a file.

A device made here is read-only and frees itself when nobody has it open or mounted any more.

Source: Linux include/uapi/linux/loop.h.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CONTROL = "/dev/loop-control"
_GET_FREE = 0x4C82
_CONFIGURE = 0x4C0A
_READ_ONLY, _AUTOCLEAR = 1, 4
_ATTEMPTS = 20

# struct loop_config: fd, block size, struct loop_info64 (five numbers of 64 bits, four of 32, three
# names, two more numbers), eight reserved numbers.
_CONFIG = struct.Struct("=II5Q4I64s64s32s2Q8Q")


def attach(path: Path, *, block_size: int = 512) -> tuple[str, int]:
    """A loop device for the file *path*: its name, and a descriptor that keeps it until closed.

    Raises:
        OSError: this system has none to give.
    """
    backing = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for _ in range(_ATTEMPTS):
            name = f"/dev/loop{_free_number()}"
            device = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.ioctl(device, _CONFIGURE, _config(backing, path, block_size))
            except OSError as error:
                os.close(device)
                # Somebody else was faster.
                if error.errno != errno.EBUSY:
                    raise
                continue
            return name, device
    finally:
        os.close(backing)
    raise OSError(errno.EBUSY, "no free loop device", os.fspath(path))


def _free_number() -> int:
    control = os.open(CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        return fcntl.ioctl(control, _GET_FREE)
    finally:
        os.close(control)


def _config(backing: int, path: Path, block_size: int) -> bytes:
    label = os.fsencode(path)[-63:]
    flags = _READ_ONLY | _AUTOCLEAR
    return _CONFIG.pack(
        backing, block_size, 0, 0, 0, 0, 0, 0, 0, 0, flags, label, b"", b"", 0, 0, *[0] * 8
    )
