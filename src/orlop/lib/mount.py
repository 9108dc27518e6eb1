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
from typing import TYPE_CHECKING

from orlop.lib.linux import LIBC, check

if TYPE_CHECKING:
    from collections.abc import Sequence

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


_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOVE_MOUNT_T_SYMLINKS = 0x10
_MOUNT_ATTR_IDMAP = 0x100000


class _MountAttr(ctypes.Structure):
    """struct mount_attr of mount_setattr(2)."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def bind_idmapped(source: PathLike, target: PathLike, userns_fd: int) -> None:
    """Bind *source* at *target* with owners shifted as in the user namespace *userns_fd*.

    Raises:
        OSError: EINVAL when the file system of *source* cannot do that.
    """
    descriptor = check(
        LIBC.syscall(
            ctypes.c_long(_SYS_OPEN_TREE),
            ctypes.c_int(_AT_FDCWD),
            ctypes.c_char_p(os.fsencode(source)),
            ctypes.c_uint(_OPEN_TREE_CLONE | os.O_CLOEXEC),
        ),
        source,
    )
    try:
        attributes = _MountAttr(_MOUNT_ATTR_IDMAP, 0, 0, userns_fd)
        check(
            LIBC.syscall(
                ctypes.c_long(_SYS_MOUNT_SETATTR),
                ctypes.c_int(descriptor),
                ctypes.c_char_p(b""),
                ctypes.c_uint(_AT_EMPTY_PATH),
                ctypes.byref(attributes),
                ctypes.c_size_t(ctypes.sizeof(attributes)),
            ),
            source,
        )
        check(
            LIBC.syscall(
                ctypes.c_long(_SYS_MOVE_MOUNT),
                ctypes.c_int(descriptor),
                ctypes.c_char_p(b""),
                ctypes.c_int(_AT_FDCWD),
                ctypes.c_char_p(os.fsencode(target)),
                ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_SYMLINKS),
            ),
            target,
        )
    finally:
        os.close(descriptor)


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


_SYS_MOVE_MOUNT, _SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT = 429, 430, 431, 432
_FSOPEN_CLOEXEC = _FSMOUNT_CLOEXEC = 1
_FSCONFIG_SET_FLAG, _FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 0, 1, 6
_MOVE_MOUNT_F_EMPTY_PATH = 4
_AT_FDCWD = -100


def mount_with(fstype: str, target: PathLike, parameters: Sequence[tuple[str, str | None]]) -> None:
    """Mount a new file system at *target* with fsopen(2), which has no limit on all *parameters*.

    mount(2) takes a page of them at most; here each value may have 255 bytes, and a key may come
    again. None is a flag: `ro`.

    Raises:
        OSError: with *target* as its file name.
    """
    context = _call(_SYS_FSOPEN, target, fstype.encode(), ctypes.c_uint(_FSOPEN_CLOEXEC))
    try:
        for key, value in parameters:
            command = _FSCONFIG_SET_FLAG if value is None else _FSCONFIG_SET_STRING
            data = None if value is None else os.fsencode(value)
            _configure(context, target, command, key.encode(), data)
        _configure(context, target, _FSCONFIG_CMD_CREATE, None, None)
        made = _call(
            _SYS_FSMOUNT,
            target,
            ctypes.c_int(context),
            ctypes.c_uint(_FSMOUNT_CLOEXEC),
            ctypes.c_uint(0),
        )
    finally:
        os.close(context)
    try:
        _call(
            _SYS_MOVE_MOUNT,
            target,
            ctypes.c_int(made),
            b"",
            ctypes.c_int(_AT_FDCWD),
            os.fsencode(target),
            ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH),
        )
    finally:
        os.close(made)


def _configure(
    context: int, target: PathLike, command: int, key: bytes | None, value: bytes | None
) -> None:
    numbers = (ctypes.c_int(context), ctypes.c_uint(command))
    _call(
        _SYS_FSCONFIG,
        target,
        *numbers,
        ctypes.c_char_p(key),
        ctypes.c_char_p(value),
        ctypes.c_int(0),
    )


def _call(number: int, target: PathLike, *arguments: object) -> int:
    return check(LIBC.syscall(ctypes.c_long(number), *arguments), target)
