"""What a worker gives up before it looks at its input: root, files, network, new processes, time.

A worker imports what it needs first: afterwards it sees no files but those of one directory, which
it may be given to work in.
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib.linux import LIBC, check, end_with_parent
from orlop.lib.syscall_filter import apply_filter

if TYPE_CHECKING:
    from collections.abc import Callable

NOBODY = 65534
PR_SET_NO_NEW_PRIVS = 38
PR_SET_DUMPABLE = 4
_CLONE_FLAGS = os.CLONE_NEWNET | os.CLONE_NEWIPC | os.CLONE_NEWUTS | os.CLONE_NEWCGROUP


@dataclass(frozen=True, slots=True)
class Limits:
    """*file_bytes* is the size of the largest file it may write."""

    memory_bytes: int = 1 << 30
    cpu_s: int = 3600
    file_bytes: int = 1 << 40
    open_files: int = 64


DEFAULT_LIMITS = Limits()


def drop_privileges(
    directory: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    *,
    network: bool = False,
    start_threads: Callable[[], None] = lambda: None,
) -> None:
    """Become nobody for good, with *directory* (a descriptor) as the root and the present place.

    With *network* it keeps the network. *start_threads* is the last chance for a process or thread
    to be made. Without root only the limits are set: for tests, and for an engine that has none
    itself.
    """
    os.umask(0o077)
    root = os.geteuid() == 0
    if root:
        os.unshare(_CLONE_FLAGS & ~os.CLONE_NEWNET if network else _CLONE_FLAGS)
    check(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    start_threads()
    if directory is not None:
        os.fchdir(directory)
    if root:
        if directory is not None:
            os.fchown(directory, NOBODY, NOBODY)
            os.chroot(".")
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    check(LIBC.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
    end_with_parent()
    for limit, value in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        # Never above what it had.
        hard = resource.getrlimit(limit)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (bound, bound))
    apply_filter(network=network)
