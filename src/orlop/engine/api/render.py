"""Containers as the Docker API shows them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from orlop.engine.api import network_render, render_host
from orlop.engine.api.exchange import encode_json
from orlop.engine.api.times import human_duration, to_text
from orlop.engine.container.state import Health, State
from orlop.engine.runtime.spec import merged_environment

if TYPE_CHECKING:
    from orlop.engine.container.config import ContainerConfig
    from orlop.engine.container.container import Container
    from orlop.engine.images import Image
    from orlop.wire.compose_model import HealthCheck

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


def _command_text(command: tuple[str, ...]) -> str:
    """As dockerd shows it: arguments with a space are quoted, the program is not."""
    quoted = (f"'{argument}'" if " " in argument else argument for argument in command[1:])
    return " ".join((*command[:1], *quoted))


def summary(container: Container) -> dict[str, Any]:
    """An element of `GET /containers/json`."""
    known, config = container.record, container.config
    image = image_of(container)
    return {
        "Id": known.id,
        "Names": [f"/{config.name}"],
        "Image": config.image,
        "ImageID": known.image_id,
        "Command": _command_text(command_of(config, image)),
        "Created": known.created_ns // _NS,
        "Ports": network_render.port_list(container),
        "Labels": dict(config.labels),
        "State": known.state.value,
        "Status": status_text(container),
        "HostConfig": {"NetworkMode": config.network}
        | ({"Annotations": dict(config.annotations)} if config.annotations else {}),
        "NetworkSettings": {"Networks": network_render.endpoints(container)},
        "Mounts": render_host.mount_points(container),
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
    return _document(container, *_changing(container))


def inspect_json(container: Container) -> bytes:
    """The same as JSON. What cannot change without a new configuration or image is made once."""
    image = image_of(container)
    links = render_host.linked_names(container)
    known = _templates.get(container)
    # Configuration and image are replaced, never changed, when something about them does.
    if (
        known is None
        or known.config is not container.config
        or known.image != image
        or (known.links != links)
    ):
        document = _document(container, *(_MARK,) * 4)
        pieces = encode_json(document).split(f'"{_MARK}"'.encode())
        known = _templates[container] = _Template(container.config, image, links, pieces)
    changing = [*map(encode_json, _changing(container)), b""]
    return b"".join(part for pair in zip(known.pieces, changing, strict=True) for part in pair)


@dataclass(frozen=True, slots=True)
class _Template:
    """What is around that which changes while *config*, *image* and the names in *links* do not."""

    config: ContainerConfig
    image: Image | None
    links: list[tuple[str, str, str]]
    pieces: list[bytes]


_MARK = os.urandom(16).hex()
"""Stands where the changing parts go; nobody who sets anything of a container can know it."""

_templates: WeakKeyDictionary[Container, _Template] = WeakKeyDictionary()


def _changing(container: Container) -> tuple[Any, Any, Any, Any]:
    """State, restart count, execs, network settings."""
    execs = [session.id for session in container.execs.values() if session.running] or None
    network = network_render.settings(container)
    return _state(container), container.record.restart_count, execs, network


def _document(
    container: Container, state: Any, restart_count: Any, execs: Any, network: Any
) -> dict[str, Any]:
    known, config = container.record, container.config
    image = image_of(container)
    command = command_of(config, image)
    return {
        "Id": known.id,
        "Created": to_text(known.created_ns),
        "Path": command[0] if command else "",
        "Args": list(command[1:]),
        "State": state,
        "Image": known.image_id,
        "ResolvConfPath": str(container.layout.etc / "resolv.conf") if config.manage_etc else "",
        "HostnamePath": str(container.layout.etc / "hostname") if config.manage_etc else "",
        "HostsPath": str(container.layout.etc / "hosts") if config.manage_etc else "",
        "LogPath": "" if config.log_driver == "none" else str(container.log.path()),
        "Name": f"/{config.name}",
        "RestartCount": restart_count,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": config.apparmor,
        "ExecIDs": execs,
        "HostConfig": render_host.host_config(container),
        "GraphDriver": {
            "Name": "overlay2",
            "Data": {
                "LowerDir": ":".join(map(str, image.lower)) if image else "",
                "MergedDir": str(container.layout.rootfs),
                "UpperDir": str(container.layout.upper),
                "WorkDir": str(container.layout.work),
            },
        },
        "Mounts": render_host.mount_points(container),
        "Config": _config(config, image, known.id),
        "NetworkSettings": network,
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
    environment = merged_environment(config, image) if image else dict(config.environment)
    entrypoint = config.entrypoint
    if entrypoint is None and image is not None:
        entrypoint = image.entrypoint
    command = config.command
    if not command and config.entrypoint is None and image is not None:
        command = image.command
    asked = render_host.requested(config)
    result: dict[str, Any] = {
        "Hostname": config.hostname or container_id[:12],
        "Domainname": config.domainname,
        "User": config.user or (image.user if image else ""),
        "AttachStdin": asked.get("AttachStdin", False),
        "AttachStdout": asked.get("AttachStdout", False),
        "AttachStderr": asked.get("AttachStderr", False),
        "Tty": config.tty,
        "OpenStdin": config.stdin_open,
        "StdinOnce": config.stdin_once,
        "Env": [
            *(f"{key}={value}" for key, value in environment.items()),
            *config.environment_unset,
        ],
        "Cmd": list(command) or None,
        "Image": config.image,
        "Volumes": _volumes(asked, image),
        "WorkingDir": config.working_dir or (image.working_dir if image else ""),
        "Entrypoint": list(entrypoint) if entrypoint else None,
        "OnBuild": asked.get("OnBuild"),
        "Labels": dict(config.labels),
    }
    if signal := config.stop_signal or (image.stop_signal if image else ""):
        result["StopSignal"] = signal
    if not config.requested or "StopTimeout" in asked:
        result["StopTimeout"] = int(config.stop_grace_period_s)
    exposed = config.networking.exposed
    if exposed:
        result["ExposedPorts"] = {key: {} for key in exposed}
    elif "ExposedPorts" in asked:
        result["ExposedPorts"] = asked["ExposedPorts"]
    check = config.healthcheck or (image.healthcheck if image else None)
    if config.requested:
        if given := _given_check(image, asked):
            result["Healthcheck"] = given
    elif check is not None:
        result["Healthcheck"] = health_check(check)
    return result


def _volumes(asked: dict[str, Any], image: Image | None) -> dict[str, Any] | None:
    """Those of the request and of the image."""
    result: dict[str, Any] = {path: {} for path in image.volumes} if image else {}
    return (result | (asked.get("Volumes") or {})) or None


def _given_check(image: Image | None, asked: dict[str, Any]) -> dict[str, Any]:
    """What was said, by the request or else by the image; defaults are not shown."""
    own = (image.document.get("config") or {}).get("Healthcheck") if image else None
    fields = {**(own or {}), **{key: v for key, v in asked.get("Healthcheck", {}).items() if v}}
    return {key: value for key, value in fields.items() if value}


def health_check(check: HealthCheck) -> dict[str, Any]:
    """Docker's `HealthConfig`."""
    test = ["CMD", *check.command] if check.command else ["NONE"]
    if len(check.command) == 3 and check.command[:2] == ("/bin/sh", "-c"):
        test = ["CMD-SHELL", check.command[2]]
    return {
        "Test": test,
        "Interval": round(check.interval_s * _NS),
        "Timeout": round(check.timeout_s * _NS),
        "StartPeriod": round(check.start_period_s * _NS),
        "StartInterval": round(check.start_interval_s * _NS),
        "Retries": check.retries,
    }


def network_id(name: str) -> str:
    """The fixed id of one of the networks that always are there."""
    return name.encode().hex().ljust(64, "0")
