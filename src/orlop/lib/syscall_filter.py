"""A system call filter for workers: what no reader of files ever needs fails with EPERM.

It takes away the calls by which one process gets at another of the same user, or becomes another
program; files are the business of a chroot, and the network of a namespace. On a machine whose
numbers are not known here there is no filter.

Source: seccomp(2), linux/filter.h, and each architecture's table of system calls.
"""

from __future__ import annotations

import ctypes
import os
import struct

from orlop.lib.linux import LIBC, check

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH_* of linux/audit.h."""

_SECCOMP = {"x86_64": 317, "aarch64": 277}

# Name: numbers on x86_64 and aarch64.
_OTHER_PROCESSES = {
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "execve": (59, 221),
    "execveat": (322, 281),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
}
_NETWORK = {"socket": (41, 198), "connect": (42, 203), "bind": (49, 200)}

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _EPERM = 0x7FFF0000, 0x00050001
_NUMBER, _ARCHITECTURE = 0, 4
_X32 = 0x40000000
"""Numbers from here on are x86_64's calls once more, for another ABI."""

_SET_MODE_FILTER, _ALL_THREADS = 1, 1


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def plan_filter(machine: str, *, network: bool) -> bytes:
    """The filter's program; empty on a machine that is not known. Pure."""
    if machine not in _ARCHITECTURES:
        return b""
    column = list(_ARCHITECTURES).index(machine)
    denied = [numbers[column] for numbers in _OTHER_PROCESSES.values()]
    if not network:
        denied += [numbers[column] for numbers in _NETWORK.values()]
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _EPERM),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, len(denied) + 1, 0, _X32),
    ]
    program += [(_EQUAL, len(denied) - place, 0, number) for place, number in enumerate(denied)]
    program += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _EPERM)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def apply_filter(*, network: bool) -> None:
    """Filter the calls of this process, all its threads, for good. no_new_privs must be set.

    Raises:
        OSError: the kernel has no filters.
    """
    machine = os.uname().machine
    code = plan_filter(machine, network=network)
    if not code:
        return
    buffer = ctypes.create_string_buffer(code)
    program = _Program(len(code) // 8, ctypes.addressof(buffer))
    check(
        LIBC.syscall(
            ctypes.c_long(_SECCOMP[machine]),
            ctypes.c_uint(_SET_MODE_FILTER),
            ctypes.c_uint(_ALL_THREADS),
            ctypes.byref(program),
        )
    )
