"""inotify(7), which `os` lacks: watch files, learn what happened to them.

Only descriptors and numbers; who waits for the descriptor and what is done about an event is the
caller's. Source: Linux 6.12 include/uapi/linux/inotify.h.
"""

import ctypes
import os
from enum import IntFlag
from struct import calcsize, unpack_from

from orlop.lib.linux import LIBC, check

_HEADER = "iIII"
_READ_BYTES = 4096

LIBC.inotify_init1.argtypes = (ctypes.c_int,)
LIBC.inotify_init1.restype = ctypes.c_int
LIBC.inotify_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
LIBC.inotify_add_watch.restype = ctypes.c_int
LIBC.inotify_rm_watch.argtypes = (ctypes.c_int, ctypes.c_int)
LIBC.inotify_rm_watch.restype = ctypes.c_int


class InotifyMask(IntFlag):
    """What to watch for, and what an event says."""

    CLOSE_WRITE = 0x008
    MOVED_TO = 0x080
    CREATE = 0x100
    DELETE = 0x200
    DELETE_SELF = 0x400
    Q_OVERFLOW = 0x4000
    IGNORED = 0x8000


def open_inotify() -> int:
    """A new, non-blocking inotify descriptor."""
    return check(LIBC.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))


def add_watch(descriptor: int, path: str, mask: int) -> int:
    """Watch *path*; the number that its events carry. The same path again gives the same number."""
    return check(LIBC.inotify_add_watch(descriptor, os.fsencode(path), mask), path)


def remove_watch(descriptor: int, watch: int) -> None:
    check(LIBC.inotify_rm_watch(descriptor, watch))


def read_events(descriptor: int) -> list[tuple[int, int, str]]:
    """All events there are now: (watch, mask, name in a watched directory)."""
    found: list[tuple[int, int, str]] = []
    while True:
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return found
        found += parse_events(data)


def parse_events(data: bytes) -> list[tuple[int, int, str]]:
    """Whole events as the kernel packs them."""
    found: list[tuple[int, int, str]] = []
    position = 0
    while position + calcsize(_HEADER) <= len(data):
        watch, mask, _, size = unpack_from(_HEADER, data, position)
        position += calcsize(_HEADER)
        found.append((watch, mask, os.fsdecode(data[position : position + size].rstrip(b"\0"))))
        position += size
    return found
