"""Limits, devices and ulimits of a `HostConfig`, which update requests have at their top level."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orlop.engine.container.config import DeviceRule, IoLimit, IoWeight, Resources
from orlop.lib.errors import InvalidArgument
from orlop.wire.compose_model import Device, RestartMode, RestartPolicy, Ulimit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop.wire.docker.fields import Object

MIN_MEMORY_BYTES = 6 << 20
_ULIMIT_NAMES = """
    core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending
    stack
"""
ULIMITS = frozenset(_ULIMIT_NAMES.split())
_DEVICE_RULE = re.compile(r"([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})")
_THROTTLES = (
    ("BlkioDeviceReadBps", "rbps"),
    ("BlkioDeviceWriteBps", "wbps"),
    ("BlkioDeviceReadIOps", "riops"),
    ("BlkioDeviceWriteIOps", "wiops"),
)
_NOT_ON_CGROUP2 = ("CpuRealtimePeriod", "CpuRealtimeRuntime")


def parse_restart(policy: Object) -> RestartPolicy:
    """`RestartPolicy`; an empty name is `no`."""
    name = policy.text("Name") or "no"
    if name not in RestartMode:
        raise InvalidArgument(
            f"invalid restart policy: unknown policy '{name[:40]}'; use one of 'no', 'always', "
            "'on-failure', or 'unless-stopped'"
        )
    retries = policy.integer("MaximumRetryCount")
    if retries and name != RestartMode.ON_FAILURE:
        raise InvalidArgument(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'"
        )
    if retries < 0:
        raise InvalidArgument("invalid restart policy: maximum retry count cannot be negative")
    return RestartPolicy(RestartMode(name), retries)


def parse_resources(host: Object, *, update: bool = False) -> Resources:
    """The limits of a `HostConfig`, or with *update* of an update request.

    Raises:
        InvalidArgument: a value the kernel would refuse, or two that contradict each other.
    """
    memory, swap = _parse_memory(host, update=update)
    cpus, quota = _parse_cpu(host)
    pids = host.integer("PidsLimit")
    weight = host.integer("BlkioWeight")
    if weight and not 10 <= weight <= 1000:
        raise InvalidArgument("Range of blkio weight is from 10 to 1000")
    if host.integer("IOMaximumBandwidth") or host.integer("IOMaximumIOps"):
        raise InvalidArgument(
            "Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps"
        )
    return Resources(
        memory_bytes=memory or None,
        memory_reservation_bytes=host.integer("MemoryReservation") or None,
        memory_swap_bytes=swap or None,
        cpus=cpus,
        cpu_quota_usec=quota or None,
        cpu_period_usec=host.integer("CpuPeriod") or None,
        cpu_shares=host.integer("CpuShares") or None,
        cpuset_cpus=_check_set(host.text("CpusetCpus"), "cpus"),
        cpuset_mems=_check_set(host.text("CpusetMems"), "mems"),
        pids_limit=None if pids == 0 else pids,
        blkio_weight=weight or None,
        io_weights=tuple(
            IoWeight(item.text("Path"), item.integer("Weight"))
            for item in host.sections("BlkioWeightDevice")
        ),
        io_limits=tuple(
            IoLimit(item.text("Path"), kind, item.integer("Rate"))
            for key, kind in _THROTTLES
            for item in host.sections(key)
        ),
    )


def _parse_memory(host: Object, *, update: bool) -> tuple[int, int]:
    memory, swap = host.integer("Memory"), host.integer("MemorySwap")
    reservation = host.integer("MemoryReservation")
    if memory < 0 or reservation < 0:
        raise InvalidArgument("invalid request: limits cannot be negative")
    if 0 < memory < MIN_MEMORY_BYTES:
        raise InvalidArgument("Minimum memory limit allowed is 6MB")
    if 0 < reservation < MIN_MEMORY_BYTES:
        raise InvalidArgument("Minimum memory reservation allowed is 6MB")
    if 0 < memory < reservation:
        raise InvalidArgument(
            "Minimum memory limit can not be less than memory reservation limit, see usage"
        )
    if memory > 0 and 0 < swap < memory:
        raise InvalidArgument(
            "Minimum memoryswap limit should be larger than memory limit, see usage"
        )
    if not memory and swap > 0 and not update:
        raise InvalidArgument(
            "You should always set the Memory limit when using Memoryswap limit, see usage"
        )
    swappiness = host.integer("MemorySwappiness", -1)
    if swappiness != -1 and not 0 <= swappiness <= 100:
        raise InvalidArgument(
            f"Invalid value: {swappiness}, valid memory swappiness range is 0-100"
        )
    if memory and not swap and not update:
        # As much again as the memory, which is what Docker documents for "not said".
        swap = 2 * memory
    return memory, swap


def _parse_cpu(host: Object) -> tuple[float | None, int]:
    nano, quota, period = (host.integer(k) for k in ("NanoCpus", "CpuQuota", "CpuPeriod"))
    for key in _NOT_ON_CGROUP2:
        if host.integer(key):
            raise InvalidArgument("Your kernel does not support CPU real-time scheduler")
    if nano and period:
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if nano and quota:
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    if nano < 0:
        raise InvalidArgument("invalid request: limits cannot be negative")
    if period and not 1000 <= period <= 1_000_000:
        raise InvalidArgument(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        )
    if 0 < quota < 1000:
        raise InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    return (nano / 1e9 if nano else None), max(quota, 0)


def _check_set(text: str, kind: str) -> str:
    """`0-2,4`, the kernel's list format, or nothing."""
    for part in text.split(",") if text else ():
        first, dash, last = part.partition("-")
        numbers = [first, last] if dash else [first]
        if not all(number.isascii() and number.isdigit() for number in numbers):
            raise InvalidArgument(f"Invalid value {text[:80]} for cpuset {kind}")
    return text


def parse_devices(host: Object) -> Iterator[Device]:
    """`Devices`. Whether they exist is looked at when the container starts."""
    for item in host.sections("Devices"):
        source = item.text("PathOnHost")
        permissions = item.text("CgroupPermissions") or "rwm"
        if not source.startswith("/") or set(permissions) - set("rwm"):
            raise InvalidArgument(f"invalid device {source[:200]!r} with {permissions[:10]!r}")
        yield Device(source, item.text("PathInContainer") or source, permissions)


def parse_device_rules(host: Object) -> Iterator[DeviceRule]:
    """`DeviceCgroupRules`: `c 42:* rmw`. -1 stands for `*`."""
    for text in host.texts("DeviceCgroupRules"):
        match = _DEVICE_RULE.fullmatch(text)
        if match is None:
            raise InvalidArgument(f"invalid device cgroup rule format: '{text[:80]}'")
        numbers = [-1 if number == "*" else int(number) for number in match.group(2, 3)]
        yield DeviceRule(match[1], numbers[0], numbers[1], match[4])


def refuse_device_requests(host: Object) -> None:
    """GPUs and the like come from vendors' hooks, which there are none of.

    Raises:
        InvalidArgument: one was asked for, in dockerd's words.
    """
    for item in host.sections("DeviceRequests"):
        driver = item.text("Driver")
        wanted = item.lists("Capabilities")
        text = " ".join("[" + " ".join(names) + "]" for names in wanted)
        raise InvalidArgument(
            f'could not select device driver "{driver[:40]}" with capabilities: [{text[:200]}]'
        )


def parse_ulimits(host: Object) -> Iterator[Ulimit]:
    """`Ulimits`."""
    for item in host.sections("Ulimits"):
        name, soft, hard = item.text("Name").lower(), item.integer("Soft"), item.integer("Hard")
        if name not in ULIMITS:
            raise InvalidArgument(f"invalid ulimit type: {name[:40]}")
        if hard != -1 and (soft == -1 or soft > hard):
            raise InvalidArgument(
                f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
            )
        yield Ulimit(name, soft, hard)
