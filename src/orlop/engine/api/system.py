"""Requests about the engine as a whole: ping, version, info, events, disk use."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

from orlop.engine.api import filters as filtering
from orlop.engine.api.router import Route
from orlop.engine.api.server import API_VERSION, MIN_API_VERSION
from orlop.engine.api.times import parse_time, to_text
from orlop.engine.state import State
from orlop.lib.errors import NotImplementedYet

if TYPE_CHECKING:
    from orlop.engine.api.exchange import Exchange
    from orlop.engine.engine import Engine
    from orlop.engine.events import Event

EVENT_FILTERS = frozenset(
    {"container", "event", "image", "label", "type", "daemon", "network", "volume", "scope"}
)


def routes(engine: Engine) -> list[Route]:
    """The rows of the route table that are answered here."""

    async def version(exchange: Exchange) -> None:
        await exchange.respond_json(200, render_version(engine))

    async def info(exchange: Exchange) -> None:
        await exchange.respond_json(200, render_info(engine))

    async def events(exchange: Exchange) -> None:
        await _events(engine, exchange)

    async def disk_usage(exchange: Exchange) -> None:
        from orlop.engine.api import render
        from orlop.engine.api.images import render_image

        value = {
            "LayersSize": 0,
            "Images": [render_image(image) for image in engine.images.all()],
            "Containers": [render.summary(container) for container in engine.all()],
            "Volumes": [],
            "BuildCache": [],
        }
        await exchange.respond_json(200, value)

    return [
        Route("GET", "/_ping", _ping),
        Route("HEAD", "/_ping", _ping),
        Route("GET", "/version", version),
        Route("GET", "/info", info),
        Route("GET", "/events", events),
        Route("GET", "/system/df", disk_usage),
        Route("POST", "/auth", _no_registry),
        Route("GET", "/swarm", _no_swarm),
    ]


async def _ping(exchange: Exchange) -> None:
    await exchange.respond_bytes(200, b"OK", "text/plain; charset=utf-8")


async def _no_registry(exchange: Exchange) -> None:
    raise NotImplementedYet("registries are not supported yet")


async def _no_swarm(exchange: Exchange) -> None:
    message = (
        'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to '
        "connect this node to swarm and try again."
    )
    await exchange.respond_json(503, {"message": message})


def render_version(engine: Engine) -> dict[str, Any]:
    """`GET /version`."""
    name = os.uname()
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(name.machine, name.machine)
    version = engine.settings.version
    return {
        "Platform": {"Name": f"{engine.settings.operating_system} Engine"},
        "Components": [
            {
                "Name": "Engine",
                "Version": version,
                "Details": {
                    "ApiVersion": API_VERSION,
                    "Arch": machine,
                    "KernelVersion": name.release,
                    "MinAPIVersion": MIN_API_VERSION,
                    "Os": "linux",
                },
            }
        ],
        "Version": version,
        "ApiVersion": API_VERSION,
        "MinAPIVersion": MIN_API_VERSION,
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": machine,
        "KernelVersion": name.release,
    }


def render_info(engine: Engine) -> dict[str, Any]:
    """`GET /info`."""
    name, settings, host = os.uname(), engine.settings, engine.host
    states = [container.record.state for container in engine.all()]
    running = sum(state in (State.RUNNING, State.RESTARTING) for state in states)
    paused = states.count(State.PAUSED)
    have = host.controllers
    return {
        "ID": settings.name or name.nodename,
        "Containers": len(states),
        "ContainersRunning": running,
        "ContainersPaused": paused,
        "ContainersStopped": len(states) - running - paused,
        "Images": len(engine.images.all()),
        "Driver": "overlay2",
        "DriverStatus": [["Backing", str(settings.data_dir)]],
        "Plugins": {
            "Volume": [],
            "Network": ["host", "null"],
            "Authorization": None,
            "Log": ["local"],
        },
        "MemoryLimit": "memory" in have,
        "SwapLimit": "memory" in have,
        "CpuCfsPeriod": "cpu" in have,
        "CpuCfsQuota": "cpu" in have,
        "CPUShares": "cpu" in have,
        "CPUSet": "cpuset" in have,
        "PidsLimit": "pids" in have,
        "IPv4Forwarding": True,
        "Debug": False,
        "NFd": len(os.listdir("/proc/self/fd")),
        "OomKillDisable": False,
        "NGoroutines": len(engine.tasks),
        "SystemTime": to_text(time.time_ns()),
        "LoggingDriver": "local",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": "2",
        "NEventsListener": len(engine.events.subscriptions),
        "KernelVersion": name.release,
        "OperatingSystem": settings.operating_system,
        "OSVersion": settings.version,
        "OSType": "linux",
        "Architecture": name.machine,
        "IndexServerAddress": "",
        "RegistryConfig": None,
        "NCPU": os.cpu_count() or 1,
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "GenericResources": None,
        "DockerRootDir": str(settings.data_dir),
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "Name": settings.name or name.nodename,
        "Labels": [],
        "ExperimentalBuild": False,
        "ServerVersion": settings.version,
        "Runtimes": {"crun": {"path": str(settings.runtime)}},
        "DefaultRuntime": "crun",
        "Swarm": {"LocalNodeState": "inactive"},
        "LiveRestoreEnabled": True,
        "Isolation": "",
        "InitBinary": "",
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
        "Warnings": list(host.warnings),
    }


async def _events(engine: Engine, exchange: Exchange) -> None:
    filters = filtering.parse_filters(exchange.text("filters"), EVENT_FILTERS)
    since_ns, until_ns = parse_time(exchange.text("since")), parse_time(exchange.text("until"))
    with engine.events.subscribe() as subscription:
        await exchange.begin_stream("application/json")
        if since_ns:
            for event in engine.events.history(since_ns):
                if (not until_ns or event.time_ns <= until_ns) and _selected(event, filters):
                    await exchange.write_json(render_event(event))
        try:
            async with asyncio.timeout(_remaining_s(until_ns)):
                async for event in subscription:
                    if _selected(event, filters):
                        await exchange.write_json(render_event(event))
        except TimeoutError:
            await exchange.end()


def _remaining_s(until_ns: int) -> float | None:
    return max((until_ns - time.time_ns()) / 1e9, 0.0) if until_ns else None


def _selected(event: Event, filters: filtering.Filters) -> bool:
    attributes = event.attributes
    name = attributes.get("name", "")
    wanted = filters.get("container")
    if wanted is not None and not any(
        item == name or (item and event.id.startswith(item)) for item in wanted
    ):
        return False
    actions = (event.action, event.action.partition(":")[0])
    return (
        filtering.match_any(filters, "type", (event.type,))
        and filtering.match_any(filters, "event", actions)
        and filtering.match_any(filters, "image", (attributes.get("image", ""),))
        and filtering.match_labels(filters.get("label", ()), attributes)
        and not ({"daemon", "network", "volume"} & filters.keys())
    )


def render_event(event: Event) -> dict[str, Any]:
    """A line of `GET /events`, old fields and new."""
    result: dict[str, Any] = {
        "Type": event.type,
        "Action": event.action,
        "Actor": {"ID": event.id, "Attributes": dict(event.attributes)},
        "scope": "local",
        "time": event.time_ns // 1_000_000_000,
        "timeNano": event.time_ns,
    }
    if event.type == "container":
        result |= {
            "status": event.action,
            "id": event.id,
            "from": event.attributes.get("image", ""),
        }
    return result
