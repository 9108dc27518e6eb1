"""Taking file systems off at shutdown: which, in which order, and what if one does not let go.

The plan is pure. Each file system on a disk ends unmounted or, as a last resort, read-only and
synced, within a limit of time: a network server that does not answer must not keep a machine on.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from orlop.lib.blocking import run_bounded
from orlop.lib.linux import swapoff
from orlop.lib.mount import MountFlag, UnmountFlag, mount, read_mounts, unmount

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.lib.mount import MountEntry

log = logging.getLogger(__name__)

SYNC_TIMEOUT_S = 15.0
UNMOUNT_TIMEOUT_S = 5.0
TOTAL_TIMEOUT_S = 20.0

# They go with the kernel, and the shutdown itself needs some of them until the end.
KEPT = ("/", "/proc", "/sys", "/dev", "/run")

_IN_MEMORY = frozenset(
    {"proc", "sysfs", "devtmpfs", "devpts", "tmpfs", "ramfs", "mqueue", "cgroup2", "securityfs"}
    | {"efivarfs", "nsfs", "erofs", "squashfs", "bpf", "rpc_pipefs", "overlay", "fuse"}
)


@dataclass(frozen=True, slots=True)
class Unmount:
    """Take the mount on *target* off; *on_disk*: make it read-only if that is refused."""

    target: str
    on_disk: bool


def plan(mounts: Sequence[MountEntry]) -> list[Unmount]:
    """The mounts to take off, the latest and innermost first."""
    steps: list[Unmount] = []
    for entry in reversed(mounts):
        target = os.fspath(entry.target)
        if target in KEPT or target.startswith(("/proc/", "/sys/", "/dev/")):
            continue
        steps.append(Unmount(target, entry.fstype not in _IN_MEMORY))
    return steps


async def unmount_all() -> list[str]:
    """Unmount everything that is not the kernel's own; what did not come off cleanly, in words."""
    problems: list[str] = []
    await _swap_off()
    try:
        steps = plan(read_mounts())
    except OSError as error:
        return [f"cannot read the mount table: {error.strerror}"]
    for step in steps:
        try:
            await run_bounded(partial(unmount, step.target), UNMOUNT_TIMEOUT_S)
        except (OSError, TimeoutError) as error:
            if step.on_disk:
                problems.append(await _make_harmless(step, error))
            else:
                await _detach(step)
    return [problem for problem in problems if problem]


async def _swap_off(table: str = "/proc/swaps") -> None:
    """A file system with a swap file in use cannot be unmounted. No process is left to need it."""
    try:
        with open(table, encoding="utf-8", errors="replace") as stream:
            paths = [line.split()[0] for line in stream if line.startswith("/")]
    except OSError:
        return
    for path in paths:
        try:
            await run_bounded(partial(swapoff, path), UNMOUNT_TIMEOUT_S)
        except (OSError, TimeoutError) as error:
            log.debug("cannot stop swapping to %s: %s", path, error)


async def _make_harmless(step: Unmount, error: OSError | TimeoutError) -> str:
    """A disk's file system that is in use: read-only at least, then out of sight.

    One that does not answer would not answer that either, and others wait for their turn.
    """
    if isinstance(error, TimeoutError):
        await _detach(step)
        return f"cannot unmount {step.target} (no answer)"
    why = error.strerror
    flags = MountFlag.REMOUNT | MountFlag.RDONLY
    try:
        await run_bounded(partial(mount, None, step.target, None, flags), UNMOUNT_TIMEOUT_S)
        outcome = "made read-only instead"
    except (OSError, TimeoutError):
        outcome = "and cannot be made read-only"
    await _detach(step)
    return f"cannot unmount {step.target} ({why}), {outcome}"


async def _detach(step: Unmount) -> None:
    try:
        await run_bounded(partial(unmount, step.target, UnmountFlag.DETACH), UNMOUNT_TIMEOUT_S)
    except (OSError, TimeoutError) as error:
        log.debug("cannot detach %s: %s", step.target, error)


async def sync(timeout_s: float = SYNC_TIMEOUT_S) -> str:
    """Write everything to the disks; why that did not end in time, or nothing."""
    try:
        await run_bounded(os.sync, timeout_s)
    except TimeoutError:
        return f"not all data was written to the disks within {timeout_s:g} s"
    return ""
