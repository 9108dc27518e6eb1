"""What worker processes need that handle other people's files as root: to keep little of root.

Such a worker owns no network, starts nothing, and has the capabilities for files and no others.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import resource
import stat

from orlop.lib.linux import LIBC, check, end_with_parent

_FILE_CAPABILITIES = (0, 1, 2, 3, 4, 27, 31)
"""chown, dac_override, dac_read_search, fowner, fsetid, mknod, setfcap."""

_HIGHEST_CAPABILITY = 40
_CAPABILITY_VERSION_3 = 0x20080522
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_NAMESPACES = os.CLONE_NEWNET | os.CLONE_NEWIPC | os.CLONE_NEWUTS | os.CLONE_NEWCGROUP
MEMORY_BYTES = 512 << 20
OPEN_FILES = 4096

LIBC.capset.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
LIBC.capset.restype = ctypes.c_int


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Set(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


CAP_SYS_ADMIN = 21
"""What it takes to read attributes in the name space `trusted.`."""


def is_userns(descriptor: int) -> bool:
    """Whether *descriptor* is open and a user namespace."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}").startswith("user:")
    except FileNotFoundError:
        return False


def enter_userns(descriptor: int) -> None:
    """Become root of the user namespace open as *descriptor*.

    From then on owners of files are as they are in there. Comes before `confine`.

    Raises:
        OSError: the kernel refused.
    """
    os.setns(descriptor, os.CLONE_NEWUSER)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


@functools.cache
def fd_links() -> int:
    """The directory of this process's descriptors in /proc; call it before a change of root."""
    return os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def open_regular(name: str, dir_fd: int | None = None) -> int:
    """Open the regular file *name* for reading, whatever a container puts there meanwhile.

    What is no regular file is not opened at all: a device would be the host's, and a pipe may never
    answer.

    Raises:
        FileNotFoundError: there is none of that name, or no regular one.
        OSError: it cannot be opened.
    """
    found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        if not stat.S_ISREG(os.fstat(found).st_mode):
            raise FileNotFoundError(errno.ENOENT, "it is no regular file any more", name)
        return os.open(str(found), os.O_RDONLY | os.O_CLOEXEC, dir_fd=fd_links())
    finally:
        os.close(found)


def confine(*more: int) -> None:
    """Keep the capabilities for files and *more* only, for good. A chroot and mounts come before.

    Raises:
        OSError: the kernel refused; the worker must end then.
    """
    kept = (*_FILE_CAPABILITIES, *more)
    os.unshare(_NAMESPACES)
    for number in range(_HIGHEST_CAPABILITY + 1):
        if number not in kept:
            check(LIBC.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0))
    header = _Header(_CAPABILITY_VERSION_3, 0)
    sets = (_Set * 2)()
    mask = sum(1 << number for number in kept)
    sets[0].effective = sets[0].permitted = mask
    check(LIBC.capset(ctypes.byref(header), ctypes.byref(sets)))
    check(LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    end_with_parent()
    limits = (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    )
    for limit, value in limits:
        hard = resource.getrlimit(limit)[1]
        chosen = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (chosen, chosen))
