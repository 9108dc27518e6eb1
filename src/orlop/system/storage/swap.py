"""`swap.size`: a file on the state partition to which the kernel writes memory that nobody uses.

It is PID 1's own file, with PID 1's own name; without the key it is removed. All functions block.
Source: Linux 6.12 include/linux/swap.h, union swap_header.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from orlop.lib import linux
from orlop.lib.errors import Conflict

if TYPE_CHECKING:
    from orlop.system.storage.state import State

FILE = "/var/lib/orlop/swap"
TABLE = "/proc/swaps"

_SIGNATURE = b"SWAPSPACE2"
_HEADER_OFFSET = 1024
_VERSION = 1


def apply(size_bytes: int, path: str = FILE, table: str = TABLE) -> None:
    """Have a swap file of *size_bytes* in use, or none for 0. Does nothing if it is so.

    Raises:
        OSError: the disk is full, or its file system cannot hold one.
    """
    page = os.sysconf("SC_PAGE_SIZE")
    size_bytes = size_bytes // page * page
    present = _size(path)
    in_use = is_in_use(path, table)
    if in_use and present == size_bytes:
        return
    if in_use:
        linux.swapoff(path)
    if present != size_bytes:
        if present is not None:
            os.unlink(path)
        if size_bytes:
            make(path, size_bytes, page)
    if size_bytes:
        linux.swapon(path)


def is_in_use(path: str, table: str = TABLE) -> bool:
    """Whether the kernel has *path* among its swap files."""
    try:
        with open(table, encoding="utf-8", errors="replace") as stream:
            return any(line.split(" ")[0].split("\t")[0] == path for line in stream)
    except OSError:
        return False


def make(path: str, size_bytes: int, page: int) -> None:
    """Make a swap file whose blocks are all there, whole or not at all.

    Raises:
        OSError: as above.
    """
    temporary = f"{path}.new"
    try:
        os.unlink(temporary)
    except FileNotFoundError:
        pass
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)
        write_header(descriptor, size_bytes, page)
        os.fsync(descriptor)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(descriptor)


def write_header(descriptor: int, size_bytes: int, page: int) -> None:
    """Make what *descriptor* is open on a swap area.

    Raises:
        OSError: from the disk.
    """
    header = struct.pack("=III", _VERSION, size_bytes // page - 1, 0) + os.urandom(16)
    os.pwrite(descriptor, header, _HEADER_OFFSET)
    os.pwrite(descriptor, _SIGNATURE, page - len(_SIGNATURE))


def refuse_without_disk(state: State | None) -> None:
    """Memory is no place for what does not fit into memory.

    Raises:
        Conflict: *state* is no disk, or its file system moves the blocks of its files.
    """
    if state is None or state.mode != "disk":
        raise Conflict("there is no state partition for a swap file")
    if state.fstype not in ("ext4", "xfs"):
        raise Conflict(f"a swap file cannot be on {state.fstype}")


def _size(path: str) -> int | None:
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return None
