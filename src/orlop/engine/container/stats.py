"""Resource use of a container as Docker's `stats` has it, from its cgroup and network namespace."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orlop.lib import cgroup

if TYPE_CHECKING:
    from orlop.engine.container.container import Container

MAX_NETWORK_BYTES = 64 << 10
_TICKS_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_NETWORK_COLUMNS = ("bytes", "packets", "errors", "dropped")


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading."""

    time_ns: int
    usage: cgroup.Usage
    system_cpu_ns: int
    online_cpus: int
    networks: dict[str, dict[str, int]]


def take_sample(container: Container) -> Sample:
    """Read now; zeros where the kernel has nothing to tell."""
    directory = container.cgroup
    system_ns, cpus = read_system_cpu()
    networks: dict[str, dict[str, int]] = {}
    if container.record.pid and container.config.network != "host":
        networks = read_networks(container.record.pid)
    return Sample(time.time_ns(), cgroup.read_usage(directory), system_ns, cpus, networks)


def read_system_cpu() -> tuple[int, int]:
    """CPU time of the whole machine, idle included, in ns, and the number of processors."""
    total, cpus = 0, 0
    with open("/proc/stat", "rb") as stream:
        for line in stream:
            if not line.startswith(b"cpu"):
                break
            fields = line.split()
            if fields[0] == b"cpu":
                # guest times are part of user and nice already.
                total = sum(int(field) for field in fields[1:8]) * _TICKS_NS
            else:
                cpus += 1
    return total, max(cpus, 1)


def read_networks(pid: int) -> dict[str, dict[str, int]]:
    """Counters of the interfaces in the namespace of *pid* but the loopback."""
    try:
        with open(f"/proc/{pid}/net/dev", "rb") as stream:
            text = stream.read(MAX_NETWORK_BYTES).decode()
    except OSError:
        return {}
    result = {}
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        values = rest.split()
        if name.strip() == "lo" or len(values) < 12:
            continue
        counters = {}
        for index, column in enumerate(_NETWORK_COLUMNS):
            counters[f"rx_{column}"] = int(values[index])
            counters[f"tx_{column}"] = int(values[8 + index])
        result[name.strip()] = counters
    return result


def render(container: Container, sample: Sample, before: Sample | None) -> dict[str, Any]:
    """An object of `GET /containers/ID/stats`; *before* is the reading one step earlier."""
    usage = sample.usage
    memory: dict[str, Any] = {}
    if usage.memory_bytes is not None:
        memory = {
            "usage": usage.memory_bytes,
            "limit": usage.memory_limit_bytes or _machine_memory(),
            "stats": usage.memory_stat,
        }
    pids: dict[str, int] = {}
    if usage.pids is not None:
        pids = {"current": usage.pids, "limit": usage.pids_limit or (1 << 64) - 1}
    result: dict[str, Any] = {
        "name": f"/{container.name}",
        "id": container.record.id,
        "read": _text(sample.time_ns),
        "preread": _text(before.time_ns if before else 0),
        "num_procs": 0,
        "storage_stats": {},
        "pids_stats": pids,
        "blkio_stats": _block_io(usage),
        "cpu_stats": _cpu(sample),
        "precpu_stats": _cpu(before) if before else _cpu_unknown(),
        "memory_stats": memory,
    }
    if sample.networks:
        result["networks"] = sample.networks
    return result


def _text(time_ns: int) -> str:
    from orlop.engine.api.times import to_text

    return to_text(time_ns)


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _cpu(sample: Sample) -> dict[str, Any]:
    usage = sample.usage
    return {
        "cpu_usage": {
            "total_usage": (usage.cpu_usec or 0) * 1000,
            "usage_in_kernelmode": usage.cpu_system_usec * 1000,
            "usage_in_usermode": usage.cpu_user_usec * 1000,
        },
        "system_cpu_usage": sample.system_cpu_ns,
        "online_cpus": sample.online_cpus,
        "throttling_data": {
            "periods": usage.periods,
            "throttled_periods": usage.throttled_periods,
            "throttled_time": usage.throttled_usec * 1000,
        },
    }


def _cpu_unknown() -> dict[str, Any]:
    usage = {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0}
    throttling = {"periods": 0, "throttled_periods": 0, "throttled_time": 0}
    return {"cpu_usage": usage, "throttling_data": throttling}


_OF_CGROUP_V1: dict[str, None] = dict.fromkeys(
    (
        *("io_serviced_recursive", "io_queue_recursive", "io_service_time_recursive"),
        *("io_wait_time_recursive", "io_merged_recursive", "io_time_recursive"),
        "sectors_recursive",
    )
)
"""What the kernel counts no more; clients look the names up all the same."""


def _block_io(usage: cgroup.Usage) -> dict[str, Any]:
    entries = []
    for device, values in usage.io.items():
        major, _, minor = device.partition(":")
        for operation, key in (("read", "rbytes"), ("write", "wbytes")):
            entries.append(
                {
                    "major": int(major),
                    "minor": int(minor),
                    "op": operation,
                    "value": values.get(key, 0),
                }
            )
    return {"io_service_bytes_recursive": entries or None, **_OF_CGROUP_V1}
