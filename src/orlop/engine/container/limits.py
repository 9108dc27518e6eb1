"""Limits that go straight into a container's cgroup: those of a running one that are changed, and
before a start those of block devices.

The rest of a start's limits the runtime sets. It knows weights of devices only of a scheduler (BFQ)
that few kernels have, and fails without it.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from orlop.engine.container.config import Resources
from orlop.engine.container.launch import find_io_devices
from orlop.engine.runtime.spec_resources import CPU_PERIOD_USEC, cpu_quota
from orlop.lib import cgroup
from orlop.lib.errors import Internal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orlop.engine.host import Host


def plan_limits(
    wanted: Resources, io_devices: Sequence[tuple[str, int, int]] = ()
) -> list[tuple[str, str, str]]:
    """Controller, file and value for each limit that is set. *io_devices*: `find_io_devices`."""
    plan: list[tuple[str, str, str]] = []
    if wanted.memory_bytes is not None:
        plan.append(("memory", "memory.max", str(wanted.memory_bytes)))
        if wanted.memory_swap_bytes is not None:
            swap = wanted.memory_swap_bytes - wanted.memory_bytes
            plan.append(("memory", "memory.swap.max", "max" if swap < 0 else str(swap)))
    if wanted.memory_reservation_bytes is not None:
        plan.append(("memory", "memory.low", str(wanted.memory_reservation_bytes)))
    quota, period = cpu_quota(wanted)
    if quota is not None or period is not None:
        plan.append(("cpu", "cpu.max", f"{quota or 'max'} {period or CPU_PERIOD_USEC}"))
    if wanted.cpu_shares:
        plan.append(("cpu", "cpu.weight", str(weight_of_shares(wanted.cpu_shares))))
    if wanted.cpuset_cpus:
        plan.append(("cpuset", "cpuset.cpus", wanted.cpuset_cpus))
    if wanted.cpuset_mems:
        plan.append(("cpuset", "cpuset.mems", wanted.cpuset_mems))
    if wanted.pids_limit is not None:
        limit = "max" if wanted.pids_limit <= 0 else str(wanted.pids_limit)
        plan.append(("pids", "pids.max", limit))
    return plan + _plan_io(wanted, io_devices)


def _plan_io(
    wanted: Resources, io_devices: Sequence[tuple[str, int, int]]
) -> list[tuple[str, str, str]]:
    numbers = {path: f"{major}:{minor}" for path, major, minor in io_devices}
    limits = [
        ("io", "io.max", f"{numbers[limit.path]} {limit.kind}={limit.rate}")
        for limit in wanted.io_limits
    ]
    weights = [
        ("io", "io.weight", f"{numbers[item.path]} {weight_of_blkio(item.weight)}")
        for item in wanted.io_weights
    ]
    if wanted.blkio_weight is not None:
        weights.insert(0, ("io", "io.weight", f"default {weight_of_blkio(wanted.blkio_weight)}"))
    return limits + weights


def weight_of_shares(shares: int) -> int:
    """cgroup v1's 2 … 262144 onto v2's 1 … 10000, as OCI runtimes convert them."""
    return 1 + ((min(max(shares, 2), 262_144) - 2) * 9999) // 262_142


def weight_of_blkio(weight: int) -> int:
    """cgroup v1's 10 … 1000 onto v2's 1 … 10000, as OCI runtimes convert them."""
    return 1 + (weight - 10) * 9999 // 990


def apply_limits(host: Host, directory: Path, wanted: Resources) -> None:
    """Set *wanted* on the cgroup; a controller that is missing is a warning.

    Raises:
        InvalidArgument: a device that is named is none.
        Internal: the kernel refused a value.
    """
    for controller, name, value in plan_limits(wanted, tuple(find_io_devices(wanted))):
        if controller not in host.controllers:
            host.warn(f"this host has no {controller} controller: its limits are not applied")
            continue
        try:
            cgroup.write(directory, name, value)
        except FileNotFoundError:
            # The controller is there without this part of it: io without a weighing scheduler.
            host.warn(f"this host has no {name}: it is not set")
        except OSError as error:
            if name != "io.weight" or error.errno != errno.EOPNOTSUPP:
                raise Internal(f"cannot set {name} to {value}: {error}") from error
            # The weight of a device that has no weighing scheduler now.
            host.warn(f"{name} cannot be {value} on this host: it is not set")


def prepare_io(host: Host, directory: Path, wanted: Resources) -> None:
    """Before the start of a container: make its cgroup, with the limits of block devices.

    Raises:
        as `apply_limits`.
    """
    limits = Resources(
        blkio_weight=wanted.blkio_weight, io_weights=wanted.io_weights, io_limits=wanted.io_limits
    )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        root = host.settings.cgroup_root
        above = [path for path in directory.parents if path.is_relative_to(root)]
        for path in reversed(above):
            cgroup.enable_controllers(path, ("io",))
    except OSError as error:
        raise Internal(f"cannot make cgroup {directory}: {error}") from error
    apply_limits(host, directory, limits)
