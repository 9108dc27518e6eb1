"""Linux system calls that `os` lacks, one thin function each.

No policy and no composition here: arguments as the kernel has them, errno as `OSError` with the
path. Mounts are in `lib.mount`. The C library is called through ctypes, its signatures are stated
once, below.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
from enum import IntEnum

LIBC = ctypes.CDLL(None, use_errno=True)

LIBC.prctl.argtypes = (
    ctypes.c_int,
    ctypes.c_ulong,
    ctypes.c_ulong,
    ctypes.c_ulong,
    ctypes.c_ulong,
)
LIBC.prctl.restype = ctypes.c_int
LIBC.reboot.argtypes = (ctypes.c_int,)
LIBC.reboot.restype = ctypes.c_int
LIBC.swapon.argtypes = (ctypes.c_char_p, ctypes.c_int)
LIBC.swapon.restype = ctypes.c_int
LIBC.swapoff.argtypes = (ctypes.c_char_p,)
LIBC.swapoff.restype = ctypes.c_int
LIBC.syscall.restype = ctypes.c_long
"""Its arguments vary: every caller passes ctypes values of the width the kernel takes."""

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

SYS_FINIT_MODULE = {"x86_64": 313, "aarch64": 273}

MODULE_INIT_COMPRESSED_FILE = 4
"""The kernel decompresses the module itself (v5.17, CONFIG_MODULE_DECOMPRESS)."""


class RebootCommand(IntEnum):
    """Commands of reboot(2), from linux/reboot.h."""

    RESTART = 0x01234567
    HALT = 0xCDEF0123
    POWER_OFF = 0x4321FEDC
    CAD_OFF = 0x00000000
    """Ctrl-Alt-Del becomes SIGINT to PID 1 instead of an immediate reboot."""


def check(result: int, path: str | os.PathLike[str] | None = None) -> int:
    """Return *result*, or raise the `OSError` that errno tells if it is -1."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), None if path is None else os.fspath(path))
    return result


def give_back_free_memory() -> None:
    """Return what the C library's heap has free to the kernel: malloc_trim(3), where there is one.

    Starting a Python program leaves two megabytes of holes from reading its modules.
    """
    trim = getattr(LIBC, "malloc_trim", None)
    if trim is not None:
        trim(0)


def set_child_subreaper(*, enabled: bool = True) -> None:
    """Orphaned descendants become children of this process instead of PID 1's."""
    check(LIBC.prctl(PR_SET_CHILD_SUBREAPER, int(enabled), 0, 0, 0))


def end_with_parent() -> None:
    """Be killed when the process that started this one ends: nobody waits for the work then.

    A change of user or capabilities takes that away, so it comes after. Descriptor 1 tells whether
    the parent, if it reads it, has ended before.
    """
    check(LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    reader = select.poll()
    reader.register(1, 0)
    if reader.poll(0):
        os._exit(1)


def reboot(command: RebootCommand) -> None:
    """Do *command* at once: nothing is synced. Returns only for `CAD_OFF`."""
    check(LIBC.reboot(ctypes.c_int(command.value - (1 << 32) if command >> 31 else command)))


def finit_module(descriptor: int, parameters: str = "", flags: int = 0) -> None:
    """Load the kernel module open as *descriptor*.

    Raises:
        OSError: EEXIST when it is loaded already; ENOSYS on an unknown machine.
    """
    number = SYS_FINIT_MODULE[os.uname().machine]
    check(
        LIBC.syscall(
            ctypes.c_long(number),
            ctypes.c_int(descriptor),
            ctypes.c_char_p(parameters.encode()),
            ctypes.c_int(flags),
        )
    )


SWAP_FLAG_PREFER = 0x8000


def swapon(path: str | os.PathLike[str], priority: int | None = None) -> None:
    """Start swapping to *path*, a file or disk with a swap header; the highest *priority* first."""
    flags = 0 if priority is None else SWAP_FLAG_PREFER | priority
    check(LIBC.swapon(os.fsencode(path), flags), path)


def swapoff(path: str | os.PathLike[str]) -> None:
    """Stop swapping to *path*; may take as long as reading all of it back."""
    check(LIBC.swapoff(os.fsencode(path)), path)


SYS_OPENAT2 = 437
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10


class _OpenHow(ctypes.Structure):
    """struct open_how of openat2(2)."""

    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


def open_in_root(
    root: str | os.PathLike[str],
    path: str,
    flags: int = os.O_RDONLY,
    *,
    resolve: int = RESOLVE_IN_ROOT,
) -> int:
    """Open *path* as a process whose root is *root* would: no link leads out of it.

    With `RESOLVE_BENEATH` one that would, elsewhere, is refused; *path* is relative then.

    Raises:
        OSError: with *path* as its file name; ELOOP for a magic link, EXDEV for a way out.
    """
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve | RESOLVE_NO_MAGICLINKS)
        return check(
            LIBC.syscall(
                ctypes.c_long(SYS_OPENAT2),
                ctypes.c_int(directory),
                ctypes.c_char_p(os.fsencode(path)),
                ctypes.byref(how),
                ctypes.c_size_t(ctypes.sizeof(how)),
            ),
            path,
        )
    finally:
        os.close(directory)


LIBC.statfs.argtypes = (ctypes.c_char_p, ctypes.c_void_p)
LIBC.statfs.restype = ctypes.c_int
_STATFS_BYTES = 256
"""More than struct statfs has anywhere; its first field is the type, a long."""


def file_system_magic(path: str | os.PathLike[str]) -> int:
    """`f_type` of statfs(2) for *path*: which kind of file system it is on."""
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    check(LIBC.statfs(os.fsencode(path), buffer), path)
    return ctypes.c_ulong.from_buffer(buffer).value


SOL_SOCKET, SO_MARK = 1, 36


def mark_socket(listener: socket.socket, mark: int) -> None:
    """Have a firewall know *listener* by *mark*; who may not set one (CAP_NET_ADMIN) does without.

    Its connections have the mark too.
    """
    with contextlib.suppress(PermissionError):
        listener.setsockopt(SOL_SOCKET, SO_MARK, mark)


LIBC.tee.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_size_t, ctypes.c_uint)
LIBC.tee.restype = ctypes.c_ssize_t
SPLICE_F_NONBLOCK = 2


def tee(source: int, target: int, size_bytes: int) -> int:
    """Copy what is in pipe *source* to pipe *target* without taking it out; how much.

    Raises:
        BlockingIOError: there is nothing, or no room. OSError: EINVAL if one is no pipe.
    """
    return check(LIBC.tee(source, target, size_bytes, SPLICE_F_NONBLOCK))
