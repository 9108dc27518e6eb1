"""The limits of a container in the runtime's terms. Pure, as `engine.runtime.spec`.

Those of block devices are not here: see `engine.container.limits`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.engine.container.config import SERVICE_LABEL

if TYPE_CHECKING:
    from orlop.engine.container.config import ContainerConfig, Resources
    from orlop.engine.runtime.spec import HostFacts
    from orlop.wire import oci

CPU_PERIOD_USEC = 100_000


def _device_rules(config: ContainerConfig, facts: HostFacts) -> list[oci.DeviceRule]:
    """All refused but those of the container; the runtime itself adds null, zero, tty and so on."""
    if config.privileged or config.host_dev:
        return [{"allow": True, "access": "rwm"}]
    rules: list[oci.DeviceRule] = [{"allow": False, "access": "rwm"}]
    # mknod alone gives no access to the device.
    rules += [{"allow": True, "type": kind, "access": "m"} for kind in ("c", "b")]
    for device in facts.devices:
        rules.append(
            {
                "allow": True,
                "type": device.kind,
                "major": device.major,
                "minor": device.minor,
                "access": device.permissions,
            }
        )
    for rule in config.device_rules:
        chosen: oci.DeviceRule = {"allow": True, "type": rule.kind, "access": rule.access}
        if rule.major >= 0:
            chosen["major"] = rule.major
        if rule.minor >= 0:
            chosen["minor"] = rule.minor
        rules.append(chosen)
    return rules


def plan_resources(config: ContainerConfig, facts: HostFacts) -> tuple[oci.Resources, list[str]]:
    wanted = config.resources
    result: oci.Resources = {"devices": _device_rules(config, facts)}
    warnings: list[str] = []

    def have(controller: str, asked: bool) -> bool:
        if controller in facts.controllers:
            return asked
        if asked:
            warnings.append(f"this host has no {controller} controller: its limits are not applied")
        return False

    limits = memory_limits(wanted)
    if have("memory", bool(limits)):
        result["memory"] = limits
        if wanted.memory_bytes is not None and SERVICE_LABEL in dict(config.labels):
            # Half a service is worse than none: its restart policy brings back the whole.
            result["unified"] = {"memory.oom.group": "1"}
    cpu = cpu_limits(wanted) if have("cpu", bool(cpu_limits(wanted))) else {}
    if have("cpuset", bool(cpuset_limits(wanted))):
        cpu |= cpuset_limits(wanted)
    if cpu:
        result["cpu"] = cpu
    pids = facts.pids_limit if wanted.pids_limit is None else wanted.pids_limit
    if have("pids", pids > 0):
        result["pids"] = {"limit": pids}
    return result, warnings


def cpuset_limits(wanted: Resources) -> oci.Cpu:
    """Processors and memory nodes in the runtime's terms."""
    cpuset: oci.Cpu = {}
    if wanted.cpuset_cpus:
        cpuset["cpus"] = wanted.cpuset_cpus
    if wanted.cpuset_mems:
        cpuset["mems"] = wanted.cpuset_mems
    return cpuset


def memory_limits(wanted: Resources) -> oci.Memory:
    """Memory in the runtime's terms."""
    memory: oci.Memory = {}
    if wanted.memory_bytes is not None:
        memory["limit"] = wanted.memory_bytes
        if wanted.memory_swap_bytes is not None:
            memory["swap"] = wanted.memory_swap_bytes
    if wanted.memory_reservation_bytes is not None:
        memory["reservation"] = wanted.memory_reservation_bytes
    return memory


def cpu_limits(wanted: Resources) -> oci.Cpu:
    """Processor time in the runtime's terms."""
    cpu: oci.Cpu = {}
    quota, period = cpu_quota(wanted)
    if quota is not None:
        cpu["quota"] = quota
    if period is not None:
        cpu["period"] = period
    if wanted.cpu_shares is not None:
        cpu["shares"] = wanted.cpu_shares
    return cpu


def cpu_quota(wanted: Resources) -> tuple[int | None, int | None]:
    """Quota and period, both in microseconds; None: not limited, or the kernel's default."""
    if wanted.cpus is not None:
        return round(wanted.cpus * CPU_PERIOD_USEC), CPU_PERIOD_USEC
    if wanted.cpu_quota_usec is not None:
        return wanted.cpu_quota_usec, wanted.cpu_period_usec or CPU_PERIOD_USEC
    return None, wanted.cpu_period_usec
