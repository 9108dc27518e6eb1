"""mount(2) and umount2(2), and reading the mount table.

The old interface rather than fsopen(2): one call per mount, and every kernel has it. Nothing here
composes; who mounts what is the caller's plan.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path

from orlop.lib.linux import LIBC, check

LIBC.mount.argtypes = (
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
)
LIBC.mount.restype = ctypes.c_int
LIBC.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
LIBC.umount2.restype = ctypes.c_int


class MountFlag(IntFlag):
    """MS_* of linux/mount.h."""

    RDONLY = 1 << 0
    NOSUID = 1 << 1
    NODEV = 1 << 2
    NOEXEC = 1 << 3
    SYNCHRONOUS = 1 << 4
    REMOUNT = 1 << 5
    NOATIME = 1 << 10
    NODIRATIME = 1 << 11
    BIND = 1 << 12
    MOVE = 1 << 13
    REC = 1 << 14
    UNBINDABLE = 1 << 17
    PRIVATE = 1 << 18
    SLAVE = 1 << 19
    SHARED = 1 << 20
    RELATIME = 1 << 21
    STRICTATIME = 1 << 24
    LAZYTIME = 1 << 25


class UnmountFlag(IntFlag):
    """MNT_* and UMOUNT_* of umount2(2)."""

    FORCE = 1
    DETACH = 2
    EXPIRE = 4
    NOFOLLOW = 8


type PathLike = str | os.PathLike[str]


def mount(
    source: PathLike | None,
    target: PathLike,
    fstype: str | None = None,
    flags: MountFlag = MountFlag(0),
    data: str | None = None,
) -> None:
    """mount(2).

    Raises:
        OSError: with *target* as its file name.
    """
    check(
        LIBC.mount(
            None if source is None else os.fsencode(source),
            os.fsencode(target),
            None if fstype is None else fstype.encode(),
            flags.value,
            None if data is None else os.fsencode(data),
        ),
        target,
    )


def unmount(target: PathLike, flags: UnmountFlag = UnmountFlag(0)) -> None:
    """umount2(2).

    Raises:
        OSError: EINVAL when nothing is mounted at *target*, EBUSY when it is in use.
    """
    check(LIBC.umount2(os.fsencode(target), flags.value), target)


def detach(target: PathLike) -> bool:
    """Take every mount off *target*, in use or not; whether there was one. May run twice."""
    found = False
    while True:
        try:
            unmount(target, UnmountFlag.DETACH | UnmountFlag.NOFOLLOW)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return found
            raise
        found = True


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One line of mountinfo, what we need of it."""

    target: Path
    fstype: str
    source: str
    options: frozenset[str]


_OCTAL = re.compile(rb"\\([0-7]{3})")


def _unescape(field: bytes) -> str:
    return os.fsdecode(_OCTAL.sub(lambda match: bytes([int(match[1], 8)]), field))


def parse_mountinfo(text: bytes) -> list[MountEntry]:
    """Parse /proc/PID/mountinfo, in its order: the later entry of a target is on top.

    Source: proc_pid_mountinfo(5).
    """
    entries = []
    for line in text.splitlines():
        head, separator, tail = line.partition(b" - ")
        fields, rest = head.split(b" "), tail.split(b" ")
        if not separator or len(fields) < 6 or len(rest) < 2:
            continue
        options = os.fsdecode(fields[5]).split(",")
        if len(rest) > 2:
            options += os.fsdecode(rest[2]).split(",")
        entries.append(
            MountEntry(
                Path(_unescape(fields[4])),
                os.fsdecode(rest[0]),
                _unescape(rest[1]),
                frozenset(options),
            )
        )
    return entries


def read_mounts() -> list[MountEntry]:
    """The mounts this process sees."""
    return parse_mountinfo(Path("/proc/self/mountinfo").read_bytes())
