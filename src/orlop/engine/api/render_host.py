"""The `HostConfig` and the mounts of a container, as `inspect` shows them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from orlop.engine.runtime.spec import MASKED_PATHS, READONLY_PATHS
from orlop.lib.errors import NotFound
from orlop.wire.compose_model import MountKind, Seccomp

if TYPE_CHECKING:
    from orlop.engine.container.config import ContainerConfig, Resources
    from orlop.engine.container.container import Container
    from orlop.wire.compose_model import Mount

DEFAULT_LOG_DRIVER = "json-file"
"""What a container that asked for none is said to have: SDKs read logs of drivers they know."""

_NULL = ("VolumesFrom", "Links", "DeviceRequests", "MemorySwappiness", "OomKillDisable")
_ZERO = (
    *("CpuRealtimePeriod", "CpuRealtimeRuntime", "CpuCount", "CpuPercent"),
    *("IOMaximumIOps", "IOMaximumBandwidth"),
)
_EMPTY_TEXT = ("ContainerIDFile", "VolumeDriver", "Cgroup", "Isolation")
_EMPTY_LIST = ("Dns", "DnsOptions", "DnsSearch")
_ECHOED = frozenset(
    (
        *("Binds", "Mounts", "Tmpfs", "VolumesFrom", "PortBindings", "PublishAllPorts"),
        *("Dns", "DnsOptions", "DnsSearch", "ContainerIDFile", "ConsoleSize", "VolumeDriver"),
        *("SecurityOpt", "MemorySwappiness", "Cgroup", "NetworkMode", "Ulimits", "Isolation"),
    )
)
"""Shown as they were asked for; everything else is shown as it is now."""


def requested(config: ContainerConfig) -> dict[str, Any]:
    """What the create request said, without what was not set; empty for a service."""
    if not config.requested:
        return {}
    value: dict[str, Any] = json.loads(config.requested)
    return value


def host_config(container: Container) -> dict[str, Any]:
    """Docker's `HostConfig`."""
    config = container.config
    asked = requested(config).get("HostConfig", {})
    value: dict[str, Any] = {
        **dict.fromkeys(_NULL),
        **dict.fromkeys(_ZERO, 0),
        **dict.fromkeys(_EMPTY_TEXT, ""),
        **{key: [] for key in _EMPTY_LIST},
        "PortBindings": {},
        "PublishAllPorts": False,
        "ConsoleSize": [0, 0],
        **_of_service(config),
        **{key: item for key, item in asked.items() if key in _ECHOED},
        **_general(container),
        **_confinement(config),
        **_limits(config.resources, container.host.settings.pids_limit),
    }
    optional = {"Sysctls": dict(config.sysctls), "Annotations": dict(config.annotations)}
    value |= {key: item for key, item in optional.items() if item}
    if config.init:
        value["Init"] = True
    value["NetworkMode"] = config.network
    value["PortBindings"] = {
        port: items and [{"HostIp": "", "HostPort": ""} | item for item in items]
        for port, items in value["PortBindings"].items()
    }
    if config.network == "bridge" and (links := linked_names(container)):
        value["Links"] = [f"/{name}:/{config.name}/{alias}" for _id, name, alias in links]
    return value


def linked_names(container: Container) -> list[tuple[str, str, str]]:
    """Id, name and alias of each container that this one links to on the default bridge."""
    found = []
    for link in container.config.networking.links:
        ref, _, alias = link.partition(":")
        try:
            other = container.host.find(ref.removeprefix("/"))
        except NotFound:
            continue
        found.append((other.record.id, other.name, alias or other.name))
    return found


def _of_service(config: ContainerConfig) -> dict[str, Any]:
    """For a container that no request describes."""
    binds = [_bind(mount) for mount in config.mounts if mount.kind is MountKind.BIND]
    tmpfs = {m.target: _tmpfs(m) for m in config.mounts if m.kind is MountKind.TMPFS}
    security = ["no-new-privileges"] if config.no_new_privileges else []
    security += ["seccomp=unconfined"] if config.seccomp is Seccomp.NONE else []
    if config.requested:
        return {"Binds": None, "SecurityOpt": None, "Ulimits": []}
    value: dict[str, Any] = {"Binds": binds or None, "SecurityOpt": security or None}
    value["Ulimits"] = [
        {"Name": limit.name, "Soft": limit.soft, "Hard": limit.hard} for limit in config.ulimits
    ]
    return value | ({"Tmpfs": tmpfs} if tmpfs else {})


def _general(container: Container) -> dict[str, Any]:
    config = container.config
    size_bytes, files = container.log.limits
    options = dict(config.log_options)
    if not config.log_driver and not options:
        options = {"max-size": str(size_bytes), "max-file": str(files)}
    return {
        "LogConfig": {"Type": config.log_driver or DEFAULT_LOG_DRIVER, "Config": options},
        "RestartPolicy": {
            "Name": config.restart.mode.value,
            "MaximumRetryCount": config.restart.max_retries,
        },
        "AutoRemove": config.auto_remove,
        "ExtraHosts": [f"{name}:{address}" for name, address in config.extra_hosts] or None,
        "GroupAdd": list(config.group_add) or None,
        "ShmSize": config.shm_size_bytes,
        "Runtime": requested(config).get("HostConfig", {}).get("Runtime", "crun"),
        "Devices": [
            {
                "PathOnHost": device.source,
                "PathInContainer": device.target,
                "CgroupPermissions": device.permissions,
            }
            for device in config.devices
        ],
        "DeviceCgroupRules": [
            f"{r.kind} {_number(r.major)}:{_number(r.minor)} {r.access}"
            for r in config.device_rules
        ]
        or None,
    }


def _number(number: int) -> str:
    return "*" if number < 0 else str(number)


def _confinement(config: ContainerConfig) -> dict[str, Any]:
    masked, readonly = config.masked_paths, config.readonly_paths
    open_paths = config.privileged or config.host_proc
    return {
        "CapAdd": list(config.cap_add) or None,
        "CapDrop": list(config.cap_drop) or None,
        "CgroupnsMode": config.cgroupns,
        "CgroupParent": config.cgroup_parent,
        "IpcMode": config.ipc,
        "PidMode": "" if config.pid == "private" else config.pid,
        "UTSMode": "" if config.uts == "private" else config.uts,
        "UsernsMode": config.userns,
        "OomScoreAdj": config.oom_score_adj or 0,
        "Privileged": config.privileged,
        "ReadonlyRootfs": config.read_only,
        "MaskedPaths": _paths(MASKED_PATHS if masked is None else masked, none=open_paths),
        "ReadonlyPaths": _paths(READONLY_PATHS if readonly is None else readonly, none=open_paths),
    }


def _paths(paths: tuple[str, ...], *, none: bool) -> list[str] | None:
    return None if none else list(paths)


def _limits(limits: Resources, default_pids: int) -> dict[str, Any]:
    by_kind: dict[str, list[dict[str, Any]]] = {"rbps": [], "wbps": [], "riops": [], "wiops": []}
    for limit in limits.io_limits:
        by_kind[limit.kind].append({"Path": limit.path, "Rate": limit.rate})
    return {
        "NanoCpus": round((limits.cpus or 0) * 1e9),
        "CpuPeriod": limits.cpu_period_usec or 0,
        "CpuQuota": limits.cpu_quota_usec or 0,
        "CpuShares": limits.cpu_shares or 0,
        "CpusetCpus": limits.cpuset_cpus,
        "CpusetMems": limits.cpuset_mems,
        "Memory": limits.memory_bytes or 0,
        "MemoryReservation": limits.memory_reservation_bytes or 0,
        "MemorySwap": limits.memory_swap_bytes or 0,
        "PidsLimit": limits.pids_limit or default_pids,
        "BlkioWeight": limits.blkio_weight or 0,
        "BlkioWeightDevice": [{"Path": w.path, "Weight": w.weight} for w in limits.io_weights],
        "BlkioDeviceReadBps": by_kind["rbps"],
        "BlkioDeviceWriteBps": by_kind["wbps"],
        "BlkioDeviceReadIOps": by_kind["riops"],
        "BlkioDeviceWriteIOps": by_kind["wiops"],
    }


def _bind(mount: Mount) -> str:
    return f"{mount.source}:{mount.target}:{'ro' if mount.read_only else 'rw'}"


def _tmpfs(mount: Mount) -> str:
    options = ["ro"] if mount.read_only else []
    options += [f"size={mount.size_bytes}"] if mount.size_bytes is not None else []
    options += [f"mode={mount.mode:o}"] if mount.mode is not None else []
    return ",".join(options)


def mount_points(container: Container) -> list[dict[str, Any]]:
    """`Mounts` of a container; a tmpfs of `--tmpfs` is not among them, as for dockerd."""
    return [_mount_point(container, m) for m in container.config.mounts if m.listed]


def _mount_point(container: Container, mount: Mount) -> dict[str, Any]:
    value: dict[str, Any] = {"Type": mount.kind.value}
    source = mount.source
    if mount.kind is MountKind.VOLUME:
        value["Name"] = mount.source
        source = str(container.host.volumes.path(mount.source))
    value |= {"Source": source, "Destination": mount.target}
    if mount.kind is MountKind.VOLUME:
        value["Driver"] = "local"
    mode = mount.mode_text
    if not container.config.requested and mount.read_only:
        mode = "ro"
    return value | {
        "Mode": mode,
        "RW": not mount.read_only,
        "Propagation": mount.propagation.value if mount.kind is MountKind.BIND else "",
    }
