"""What a create request asked for and does not get: said in the answer, as dockerd words it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop.engine.container.config import ContainerConfig, Resources
    from orlop.wire.docker.fields import Object

_NO = "Your kernel does not support"
_GONE = "or the cgroup is not mounted."


def find_warnings(config: ContainerConfig, host: Object, controllers: frozenset[str]) -> list[str]:
    """Warnings about limits without a controller, and about options that mean nothing here."""
    warnings = [*limit_warnings(config.resources, controllers), *_about_options(host)]
    if config.network == "host" and config.networking.ports:
        warnings.append("Published ports are discarded when using host network mode")
    return warnings


def limit_warnings(limits: Resources, controllers: frozenset[str]) -> list[str]:
    """Warnings about limits whose controller this host does not have."""
    has_cpu = limits.cpus or limits.cpu_quota_usec or limits.cpu_period_usec
    cases: tuple[tuple[str, object, str], ...] = (
        ("memory", limits.memory_bytes, f"memory limit capabilities {_GONE} Limitation discarded."),
        (
            "memory",
            limits.memory_reservation_bytes,
            f"memory soft limit capabilities {_GONE} Limitation discarded.",
        ),
        ("cpu", limits.cpu_shares, f"CPU shares {_GONE} Shares discarded."),
        ("cpu", has_cpu, "CPU CFS scheduler. CPU period/quota discarded."),
        (
            "cpuset",
            limits.cpuset_cpus or limits.cpuset_mems,
            f"cpuset {_GONE} Cpuset discarded.",
        ),
        (
            "pids",
            (limits.pids_limit or 0) > 0,
            f"PIDs limit capabilities {_GONE} PIDs limit discarded.",
        ),
        (
            "io",
            limits.blkio_weight or limits.io_weights,
            f"Block I/O weight {_GONE} Weight discarded.",
        ),
        ("io", limits.io_limits, f"Block I/O limits {_GONE} Block I/O limits discarded."),
    )
    return [
        f"{_NO} {text}"
        for controller, asked, text in cases
        if asked and controller not in controllers
    ]


def _about_options(host: Object) -> Iterator[str]:
    if host.integer("MemorySwappiness", -1) >= 0:
        yield f"{_NO} memory swappiness capabilities {_GONE} Memory swappiness discarded."
    if host.flag("OomKillDisable"):
        yield f"{_NO} OomKillDisable. OomKillDisable discarded."
    if host.integer("KernelMemory") or host.integer("KernelMemoryTCP"):
        yield f"{_NO} kernel memory limit capabilities {_GONE} Limitation discarded."
    if host.integer("CpuPercent"):
        yield "linux does not support CPU percent. Percent discarded."
