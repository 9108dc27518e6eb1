"""cgroup2 directories: make, limit, freeze, kill, measure, remove.

The kernel's file interface, nothing remembered. A machine without some controller is no error here:
what cannot be set is reported to the caller, who decides. Source: Linux Documentation/admin-guide/
cgroup-v2.rst.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

GONE = (errno.ENOENT, errno.ENODEV)
"""What files of a cgroup that was removed meanwhile answer, on open and on read or write."""


def write(directory: Path, name: str, value: str) -> None:
    """Write one interface file in one write(2), as the kernel wants it."""
    descriptor = os.open(directory / name, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def read(directory: Path, name: str) -> str | None:
    """One interface file, or None when it does not exist (no controller, or cgroup removed)."""
    try:
        return (directory / name).read_text()
    except OSError as error:
        if error.errno in (*GONE, errno.EOPNOTSUPP):
            return None
        raise


def read_keyed(directory: Path, name: str) -> dict[str, int]:
    """A file of `KEY NUMBER` lines; empty when it does not exist."""
    pairs = (line.split() for line in (read(directory, name) or "").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def read_number(directory: Path, name: str) -> int | None:
    """A file of one number; None when absent, and for `max`."""
    text = (read(directory, name) or "").strip()
    return int(text) if text.isdigit() else None


def available_controllers(directory: Path) -> frozenset[str]:
    """Controllers that children of *directory*'s parent may use in *directory*."""
    return frozenset((read(directory, "cgroup.controllers") or "").split())


def enable_controllers(directory: Path, wanted: Iterable[str]) -> frozenset[str]:
    """Let children of *directory* use *wanted*; returns those which are not to be had."""
    available = available_controllers(directory)
    missing = set()
    for controller in wanted:
        if controller not in available:
            missing.add(controller)
            continue
        try:
            write(directory, "cgroup.subtree_control", f"+{controller}")
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EBUSY, errno.EOPNOTSUPP, errno.ENOENT):
                raise
            missing.add(controller)
    return frozenset(missing)


def processes(directory: Path, *, recursive: bool = True) -> list[int]:
    """PIDs in *directory* and below; empty when it is gone."""
    found = []
    for path in _walk(directory) if recursive else (directory,):
        found += [int(line) for line in (read(path, "cgroup.procs") or "").split()]
    return found


def is_populated(directory: Path) -> bool:
    """Whether any process lives in *directory* or below."""
    return read_keyed(directory, "cgroup.events").get("populated", 0) == 1


def kill(directory: Path) -> None:
    """SIGKILL every process in *directory* and below, forks in flight included; gone is fine."""
    try:
        write(directory, "cgroup.kill", "1")
    except OSError as error:
        if error.errno not in GONE:
            raise


def freeze(directory: Path, *, frozen: bool) -> None:
    """Ask for *frozen*; the kernel follows soon (`is_frozen`)."""
    write(directory, "cgroup.freeze", "1" if frozen else "0")


def is_frozen(directory: Path) -> bool:
    """Whether every process is stopped by the freezer by now."""
    return read_keyed(directory, "cgroup.events").get("frozen", 0) == 1


def remove(directory: Path) -> bool:
    """Remove *directory* and the cgroups below; False when processes remain. May run twice."""
    for path in sorted(_walk(directory), key=lambda path: len(path.parts), reverse=True):
        try:
            path.rmdir()
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno == errno.EBUSY:
                return False
            raise
    return True


def _walk(directory: Path) -> Iterator[Path]:
    yield directory
    try:
        with os.scandir(directory) as entries:
            below = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return
    for name in below:
        yield from _walk(directory / name)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a cgroup uses now. None: this kernel or host has no such controller."""

    cpu_usec: int | None
    cpu_user_usec: int
    cpu_system_usec: int
    throttled_periods: int
    periods: int
    throttled_usec: int
    memory_bytes: int | None
    memory_limit_bytes: int | None
    memory_stat: dict[str, int]
    pids: int | None
    pids_limit: int | None
    io: dict[str, dict[str, int]]
    oom_kills: int


def read_usage(directory: Path) -> Usage:
    """Everything `stats` wants, in one go; zero or None for what is missing."""
    cpu = read_keyed(directory, "cpu.stat")
    return Usage(
        cpu_usec=cpu.get("usage_usec"),
        cpu_user_usec=cpu.get("user_usec", 0),
        cpu_system_usec=cpu.get("system_usec", 0),
        periods=cpu.get("nr_periods", 0),
        throttled_periods=cpu.get("nr_throttled", 0),
        throttled_usec=cpu.get("throttled_usec", 0),
        memory_bytes=read_number(directory, "memory.current"),
        memory_limit_bytes=read_number(directory, "memory.max"),
        memory_stat=read_keyed(directory, "memory.stat"),
        pids=read_number(directory, "pids.current"),
        pids_limit=read_number(directory, "pids.max"),
        io=parse_io_stat(read(directory, "io.stat") or ""),
        oom_kills=read_keyed(directory, "memory.events").get("oom_kill", 0),
    )


def parse_io_stat(text: str) -> dict[str, dict[str, int]]:
    """`8:0 rbytes=1 wbytes=2 …` lines by device number."""
    result = {}
    for line in text.splitlines():
        device, *pairs = line.split()
        values = (pair.partition("=") for pair in pairs)
        result[device] = {key: int(value) for key, _, value in values if value.isdigit()}
    return result
