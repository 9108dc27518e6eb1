"""The control group tree: where everything lives, and who goes first when memory is tight.

    /sys/fs/cgroup
      init      PID 1 alone. Its memory is never reclaimed for anybody else (memory.min).
      system    one cgroup per system service. A reservation (memory.low), and four times the weight
                of the user's subtree, so that one can log in to a machine that is busy.
      user      the containers of the machine's user, made and divided by the user's engine.

All controllers are delegated to `system` and `user`. The plan is data; what the kernel lacks is
reported, and nothing here stops the boot.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib import cgroup

if TYPE_CHECKING:
    from collections.abc import Collection

ROOT = Path("/sys/fs/cgroup")
INIT = ROOT / "init"
SYSTEM = ROOT / "system"
USER = ROOT / "user"

CONTROLLERS = ("cpuset", "cpu", "io", "memory", "pids", "hugetlb", "misc")
REQUIRED = ("cpu", "memory", "pids")

# PID 1 in use is about 30 MiB. The margin is for the moment when everything fails at once.
INIT_MEMORY_MIN_BYTES = 48 << 20
SYSTEM_MEMORY_LOW_BYTES = 64 << 20
# A reservation larger than this share of the machine would only move the pressure.
INIT_SHARE, SYSTEM_SHARE = 5, 4

PID_RESERVE = 1024
"""Tasks that the user's containers can never take from PID 1 and the system."""


@dataclass(frozen=True, slots=True)
class Write:
    """*value* into interface file *name* of *group*."""

    group: Path
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Group:
    """Make cgroup *group*."""

    group: Path


type Step = Group | Write


def plan(
    memory_bytes: int, tasks: int, controllers: Collection[str] = CONTROLLERS, root: Path = ROOT
) -> list[Step]:
    """Decide the tree for a machine with *memory_bytes* of RAM and room for *tasks* tasks.

    *controllers* are those that the kernel has: what needs another one is left out.
    """
    init, system, user = root / "init", root / "system", root / "user"
    init_min = min(INIT_MEMORY_MIN_BYTES, memory_bytes // INIT_SHARE)
    system_low = min(SYSTEM_MEMORY_LOW_BYTES, memory_bytes // SYSTEM_SHARE)
    enabled = [name for name in CONTROLLERS if name in controllers]
    limits = [
        Write(init, "memory.min", str(init_min)),
        Write(init, "memory.swap.max", "0"),
        Write(init, "cpu.weight", "1000"),
        Write(init, "io.weight", "default 1000"),
        Write(system, "memory.low", str(system_low)),
        Write(system, "cpu.weight", "400"),
        Write(system, "io.weight", "default 400"),
        Write(user, "pids.max", str(max(tasks - PID_RESERVE, PID_RESERVE))),
    ]
    return [
        Group(init),
        Group(system),
        Group(user),
        # Processes may not live beside groups that have controllers, so PID 1 moves first.
        Write(init, "cgroup.procs", str(os.getpid())),
        *(Write(root, "cgroup.subtree_control", f"+{name}") for name in enabled),
        *(step for step in limits if step.name.partition(".")[0] in enabled),
        *(
            Write(group, "cgroup.subtree_control", f"+{name}")
            for group in (system, user)
            for name in enabled
        ),
    ]


def missing(controllers: Collection[str]) -> list[str]:
    """What to say about a kernel that has only *controllers*; optional ones do not count."""
    absent = [name for name in REQUIRED if name not in controllers]
    return [f"this kernel has no cgroup controller {', '.join(absent)}"] if absent else []


def apply(steps: list[Step]) -> list[str]:
    """Carry out *steps*; returns what could not be done, in words. May run twice."""
    failures: list[str] = []
    for step in steps:
        try:
            match step:
                case Group(group):
                    group.mkdir(mode=0o755, exist_ok=True)
                case Write(group, name, value):
                    cgroup.write(group, name, value)
        except OSError as error:
            if not _is_absent(step, error):
                failures.append(f"cannot apply {step}: {error.strerror}")
    return failures


def _is_absent(step: Step, error: OSError) -> bool:
    """Whether the kernel merely lacks an optional file: io.weight, or swap."""
    return (
        isinstance(step, Write)
        and error.errno == errno.ENOENT
        and step.name in ("io.weight", "memory.swap.max")
    )


def protect_from_oom(path: Path = Path("/proc/self/oom_score_adj")) -> None:
    """Make this process the last that the kernel would kill; children are set by the engine.

    Raises:
        OSError: no such right (outside a machine).
    """
    path.write_text("-1000")


def memory_total_bytes(meminfo: str) -> int:
    """`MemTotal` of the text of /proc/meminfo, 0 if it is not there."""
    for line in meminfo.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) << 10
    return 0
