"""`orlop.swap.zram`: memory that nobody uses is kept in memory, compressed. All functions block.

The first zram device is PID 1's own. Source: Documentation/admin-guide/blockdev/zram.rst.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orlop.lib import linux
from orlop.lib.disk_ids import read_text
from orlop.system.storage import swap

if TYPE_CHECKING:
    from orlop.wire.compose_model import Json

MODULE = "zram"
DEVICE = "/dev/zram0"
SYS = "/sys/block/zram0"
PRIORITY = 100
"""Before any file or disk."""


def size_bytes(value: Json, memory_bytes: int) -> int:
    """What the configuration's *value* means on a machine with so much memory; whole pages."""
    if isinstance(value, str) and value.endswith("%"):
        size = memory_bytes * int(value.removesuffix("%")) // 100
    else:
        size = value if isinstance(value, int) else 0
    page = os.sysconf("SC_PAGE_SIZE")
    return size // page * page


def memory_bytes() -> int:
    """How much memory the machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def is_there(sys: str = SYS) -> bool:
    """Whether the module is loaded."""
    return os.path.isdir(sys)


def apply(size: int, device: str = DEVICE, sys: str = SYS, table: str = swap.TABLE) -> None:
    """Have *size* bytes of compressed swap in use, or none for 0. Does nothing if it is so.

    Raises:
        OSError: from the kernel: there is too little memory to take back what is in it.
    """
    present = read_text(sys, "disksize")
    in_use = swap.is_in_use(device, table)
    if (in_use, present) in ((True, str(size)), (False, "0")) and (in_use or not size):
        return
    if in_use:
        linux.swapoff(device)
    if present != "0":
        _write(f"{sys}/reset", "1")
    if not size:
        return
    _write(f"{sys}/disksize", str(size))
    descriptor = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        swap.write_header(descriptor, size, os.sysconf("SC_PAGE_SIZE"))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    linux.swapon(device, PRIORITY)


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
