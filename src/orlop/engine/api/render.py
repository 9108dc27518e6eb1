"""Containers as the Docker API shows them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from orlop.engine.api.times import human_duration, to_text
from orlop.engine.state import Health, State
from orlop.wire.compose_model import MountKind, Seccomp

if TYPE_CHECKING:
    from orlop.engine.config import ContainerConfig
    from orlop.engine.container import Container
    from orlop.engine.images import Image
    from orlop.wire.compose_model import HealthCheck, Mount

_NS = 1_000_000_000


def status_text(container: Container, now_ns: int | None = None) -> str:
    """The STATUS column: `Up 3 minutes (healthy)`, `Exited (0) 2 hours ago` …"""
    known = container.record
    now = time.time_ns() if now_ns is None else now_ns
    up = human_duration((now - known.started_ns) / _NS)
    ended = human_duration((now - known.finished_ns) / _NS)
    match known.state:
        case State.CREATED:
            return "Created"
        case State.RUNNING:
            if known.health is Health.NONE:
                return f"Up {up}"
            health = "health: starting" if known.health is Health.STARTING else known.health.value
            return f"Up {up} ({health})"
        case State.PAUSED:
            return f"Up {up} (Paused)"
        case State.RESTARTING:
            return f"Restarting ({known.exit_code}) {ended} ago"
        case State.EXITED:
            return f"Exited ({known.exit_code}) {ended} ago"
        case State.REMOVING:
            return "Removal In Progress"
        case State.DEAD:
            return "Dead"


def command_of(config: ContainerConfig, image: Image | None) -> tuple[str, ...]:
    """What it runs, or would run."""
    if config.entrypoint is not None:
        return config.entrypoint + config.command
    if image is None:
        return config.command
    return image.entrypoint + (config.command or image.command)


def summary(container: Container) -> dict[str, Any]:
    """An element of `GET /containers/json`."""
    known, config = container.record, container.config
    image = image_of(container)
    return {
        "Id": known.id,
        "Names": [f"/{config.name}"],
        "Image": config.image,
        "ImageID": known.image_id,
        "Command": " ".join(command_of(config, image)),
        "Created": known.created_ns // _NS,
        "Ports": [],
        "Labels": dict(config.labels),
        "State": known.state.value,
        "Status": status_text(container),
        "HostConfig": {"NetworkMode": config.network},
        "NetworkSettings": {"Networks": _networks(config)},
        "Mounts": [_mount_point(mount) for mount in config.mounts],
    }


def image_of(container: Container) -> Image | None:
    """Its image, if that still is there."""
    from orlop.lib.errors import NotFound

    try:
        return container.image()
    except NotFound:
        return None


def inspect(container: Container) -> dict[str, Any]:
    """`GET /containers/ID/json`."""
    known, config = container.record, container.config
    image = image_of(container)
    command = command_of(config, image)
    return {
        "Id": known.id,
        "Created": to_text(known.created_ns),
        "Path": command[0] if command else "",
        "Args": list(command[1:]),
        "State": _state(container),
        "Image": known.image_id,
        "ResolvConfPath": str(container.layout.etc / "resolv.conf") if config.manage_etc else "",
        "HostnamePath": str(container.layout.etc / "hostname") if config.manage_etc else "",
        "HostsPath": str(container.layout.etc / "hosts") if config.manage_etc else "",
        "LogPath": str(container.log.path()),
        "Name": f"/{config.name}",
        "RestartCount": known.restart_count,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": [s.id for s in container.execs.values() if s.running] or None,
        "HostConfig": _host_config(container),
        "GraphDriver": {
            "Name": "overlay2",
            "Data": {
                "LowerDir": ":".join(map(str, image.lower)) if image else "",
                "MergedDir": str(container.layout.rootfs),
                "UpperDir": str(container.layout.upper),
                "WorkDir": str(container.layout.work),
            },
        },
        "Mounts": [_mount_point(mount) for mount in config.mounts],
        "Config": _config(config, image, known.id),
        "NetworkSettings": {
            "Bridge": "",
            "SandboxID": "",
            "SandboxKey": "",
            "Ports": {},
            "Networks": _networks(config),
        },
    }


def _state(container: Container) -> dict[str, Any]:
    known = container.record
    state: dict[str, Any] = {
        "Status": known.state.value,
        "Running": known.state.is_up or known.state is State.RESTARTING,
        "Paused": known.state is State.PAUSED,
        "Restarting": known.state is State.RESTARTING,
        "OOMKilled": known.oom_killed,
        "Dead": known.state is State.DEAD,
        "Pid": known.pid,
        "ExitCode": known.exit_code,
        "Error": known.error,
        "StartedAt": to_text(known.started_ns),
        "FinishedAt": to_text(known.finished_ns),
    }
    tracker = container.health_tracker
    if tracker is not None:
        state["Health"] = {
            "Status": known.health.value,
            "FailingStreak": tracker.failing_streak,
            "Log": [
                {
                    "Start": to_text(result.started_ns),
                    "End": to_text(result.ended_ns),
                    "ExitCode": result.exit_code,
                    "Output": result.output,
                }
                for result in tracker.results
            ],
        }
    return state


def _config(config: ContainerConfig, image: Image | None, container_id: str) -> dict[str, Any]:
    environment = dict(image.environment) if image else {}
    environment.update(config.environment)
    entrypoint = config.entrypoint
    if entrypoint is None and image is not None:
        entrypoint = image.entrypoint
    command = config.command
    if not command and config.entrypoint is None and image is not None:
        command = image.command
    result: dict[str, Any] = {
        "Hostname": config.hostname or container_id[:12],
        "Domainname": config.domainname,
        "User": config.user or (image.user if image else ""),
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "Tty": config.tty,
        "OpenStdin": config.stdin_open,
        "StdinOnce": config.stdin_once,
        "Env": [f"{key}={value}" for key, value in environment.items()],
        "Cmd": list(command) or None,
        "Image": config.image,
        "Volumes": None,
        "WorkingDir": config.working_dir or (image.working_dir if image else ""),
        "Entrypoint": list(entrypoint) if entrypoint else None,
        "OnBuild": None,
        "Labels": dict(config.labels),
        "StopSignal": config.stop_signal or (image.stop_signal if image else "") or "SIGTERM",
        "StopTimeout": int(config.stop_grace_period_s),
    }
    check = config.healthcheck or (image.healthcheck if image else None)
    if check is not None:
        result["Healthcheck"] = health_check(check)
    return result


def health_check(check: HealthCheck) -> dict[str, Any]:
    """Docker's `HealthConfig`."""
    return {
        "Test": ["CMD", *check.command] if check.command else ["NONE"],
        "Interval": round(check.interval_s * _NS),
        "Timeout": round(check.timeout_s * _NS),
        "StartPeriod": round(check.start_period_s * _NS),
        "StartInterval": round(check.start_interval_s * _NS),
        "Retries": check.retries,
    }


def _host_config(container: Container) -> dict[str, Any]:
    config, limits = container.config, container.config.resources
    size_bytes, files = container.log.limits
    security = ["no-new-privileges"] if config.no_new_privileges else []
    security += ["seccomp=unconfined"] if config.seccomp is Seccomp.NONE else []
    return {
        "Binds": [_bind(mount) for mount in config.mounts if mount.kind is MountKind.BIND] or None,
        "Tmpfs": {m.target: _tmpfs(m) for m in config.mounts if m.kind is MountKind.TMPFS},
        "LogConfig": {
            "Type": "local",
            "Config": {"max-size": str(size_bytes), "max-file": str(files)},
        },
        "NetworkMode": config.network,
        "PortBindings": {},
        "RestartPolicy": {
            "Name": config.restart.mode.value,
            "MaximumRetryCount": config.restart.max_retries,
        },
        "AutoRemove": config.auto_remove,
        "CapAdd": list(config.cap_add) or None,
        "CapDrop": list(config.cap_drop) or None,
        "CgroupnsMode": config.cgroupns,
        "CgroupParent": str(container.host.settings.cgroup_root),
        "ExtraHosts": [f"{name}:{address}" for name, address in config.extra_hosts] or None,
        "GroupAdd": list(config.group_add) or None,
        "IpcMode": config.ipc,
        "PidMode": "" if config.pid == "private" else config.pid,
        "UTSMode": "" if config.uts == "private" else config.uts,
        "OomScoreAdj": config.oom_score_adj or 0,
        "Privileged": config.privileged,
        "ReadonlyRootfs": config.read_only,
        "SecurityOpt": security or None,
        "ShmSize": config.shm_size_bytes,
        "Sysctls": dict(config.sysctls),
        "Runtime": "crun",
        "NanoCpus": round((limits.cpus or 0) * 1e9),
        "CpuShares": limits.cpu_shares or 0,
        "CpusetCpus": limits.cpuset_cpus,
        "CpusetMems": limits.cpuset_mems,
        "Memory": limits.memory_bytes or 0,
        "MemoryReservation": limits.memory_reservation_bytes or 0,
        "MemorySwap": limits.memory_swap_bytes or 0,
        "PidsLimit": limits.pids_limit or container.host.settings.pids_limit,
        "Devices": [
            {
                "PathOnHost": device.source,
                "PathInContainer": device.target,
                "CgroupPermissions": device.permissions,
            }
            for device in config.devices
        ],
        "Ulimits": [
            {"Name": limit.name, "Soft": limit.soft, "Hard": limit.hard} for limit in config.ulimits
        ],
    }


def _bind(mount: Mount) -> str:
    return f"{mount.source}:{mount.target}:{'ro' if mount.read_only else 'rw'}"


def _tmpfs(mount: Mount) -> str:
    options = ["ro"] if mount.read_only else []
    options += [f"size={mount.size_bytes}"] if mount.size_bytes is not None else []
    options += [f"mode={mount.mode:o}"] if mount.mode is not None else []
    return ",".join(options)


def _mount_point(mount: Mount) -> dict[str, Any]:
    return {
        "Type": mount.kind.value,
        "Source": mount.source,
        "Destination": mount.target,
        "Mode": "ro" if mount.read_only else "",
        "RW": not mount.read_only,
        "Propagation": mount.propagation.value if mount.kind is MountKind.BIND else "",
    }


def _networks(config: ContainerConfig) -> dict[str, Any]:
    return {
        config.network: {
            "IPAMConfig": None,
            "Links": None,
            "Aliases": None,
            "MacAddress": "",
            "NetworkID": network_id(config.network),
            "EndpointID": "",
            "Gateway": "",
            "IPAddress": "",
            "IPPrefixLen": 0,
            "IPv6Gateway": "",
            "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0,
            "DNSNames": None,
        }
    }


def network_id(name: str) -> str:
    """The fixed id of one of the networks that always are there."""
    return name.encode().hex().ljust(64, "0")
