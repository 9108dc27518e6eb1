"""Requests about volumes."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from orlop.engine.api import filters as filtering
from orlop.engine.api.router import Route, bind
from orlop.engine.api.times import to_text
from orlop.lib.errors import Conflict, InvalidArgument, NotFound, NotImplementedYet
from orlop.wire.docker.fields import Object

if TYPE_CHECKING:
    from orlop.engine.api.exchange import Exchange
    from orlop.engine.engine import Engine
    from orlop.engine.volumes.record import Volume

LIST_FILTERS = frozenset({"dangling", "driver", "label", "name"})
PRUNE_FILTERS = frozenset({"all", "label", "label!"})
ANONYMOUS_ONLY_SINCE = (1, 42)
"""From this version of the API on, prune leaves volumes that somebody named."""


def routes(engine: Engine) -> list[Route]:
    """The rows of the route table that are answered here."""
    on = bind(engine)
    return [
        on("GET", "/volumes", _list),
        on("POST", "/volumes/create", _create),
        on("POST", "/volumes/prune", _prune),
        on("GET", "/volumes/{name}", _inspect),
        on("DELETE", "/volumes/{name}", _remove),
    ]


def render(engine: Engine, volume: Volume) -> dict[str, Any]:
    """Docker's `Volume`."""
    return {
        "CreatedAt": to_text(volume.created_ns).partition(".")[0].removesuffix("Z") + "Z",
        "Driver": volume.driver,
        "Labels": dict(volume.labels) or None,
        "Mountpoint": str(engine.host.volumes.path(volume.name)),
        "Name": volume.name,
        "Options": dict(volume.options) or None,
        "Scope": "local",
    }


async def disk_usage(engine: Engine) -> list[dict[str, Any]]:
    """The part of `GET /system/df`: every volume with its size in bytes and its users."""
    from orlop.engine.api.disk_usage import tree_size_bytes

    found = []
    for volume in engine.host.volumes.all():
        path = engine.host.volumes.path(volume.name)
        # A volume with options is somebody else's storage: dockerd does not look into it either.
        size = -1 if volume.options else await asyncio.to_thread(tree_size_bytes, path)
        usage = {"Size": size, "RefCount": len(engine.host.volumes.users(volume.name))}
        found.append(render(engine, volume) | {"UsageData": usage})
    return found


async def _list(engine: Engine, exchange: Exchange) -> None:
    filters = filtering.parse_filters(exchange.text("filters"), LIST_FILTERS)
    _boolean(filters, "dangling")  # wrong also where there is no volume
    chosen = [v for v in engine.host.volumes.all() if _selected(engine, v, filters)]
    body = {"Volumes": [render(engine, volume) for volume in chosen], "Warnings": None}
    await exchange.respond_json(200, body)


def _selected(engine: Engine, volume: Volume, filters: filtering.Filters) -> bool:
    dangling = _boolean(filters, "dangling")
    if dangling is not None and dangling == bool(engine.host.volumes.users(volume.name)):
        return False
    names = filters.get("name")
    if names is not None and not any(_matches(name, volume.name) for name in names):
        return False
    return filtering.match_any(filters, "driver", (volume.driver,)) and filtering.match_labels(
        filters.get("label", ()), dict(volume.labels)
    )


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error:
        return pattern in name


def _boolean(filters: filtering.Filters, key: str) -> bool | None:
    values = filters.get(key)
    if not values:
        return None
    value = next(iter(values)).lower()
    if len(values) > 1 or value not in ("1", "true", "0", "false"):
        raise InvalidArgument(f"invalid filter '{key}={sorted(values)}'")
    return value in ("1", "true")


async def _create(engine: Engine, exchange: Exchange) -> None:
    body = Object(await exchange.json())
    if "ClusterVolumeSpec" in body:
        raise NotImplementedYet("cluster volumes need a swarm, in which this node is not")
    volume = await engine.host.volumes.create(
        body.text("Name"),
        driver=body.text("Driver"),
        options=body.text_map("DriverOpts"),
        labels=body.text_map("Labels"),
    )
    await exchange.respond_json(201, render(engine, volume))


async def _inspect(engine: Engine, exchange: Exchange) -> None:
    volume = engine.host.volumes.get(exchange.parameters["name"])
    await exchange.respond_json(200, render(engine, volume))


async def _remove(engine: Engine, exchange: Exchange) -> None:
    await engine.host.volumes.remove(exchange.parameters["name"], force=exchange.flag("force"))
    await exchange.respond_empty()


async def _prune(engine: Engine, exchange: Exchange) -> None:
    from orlop.engine.api.disk_usage import tree_size_bytes

    filters = filtering.parse_filters(exchange.text("filters"), PRUNE_FILTERS)
    everything = _boolean(filters, "all") or exchange.api_version < ANONYMOUS_ONLY_SINCE
    deleted, reclaimed_bytes = [], 0
    for volume in engine.host.volumes.all():
        labels = dict(volume.labels)
        if not (everything or volume.is_anonymous) or engine.host.volumes.users(volume.name):
            continue
        if not filtering.match_labels(filters.get("label", ()), labels):
            continue
        unwanted = filters.get("label!", ())
        if any(filtering.match_labels((label,), labels) for label in unwanted):
            continue
        size_bytes = 0
        if not volume.options:
            path = engine.host.volumes.path(volume.name)
            size_bytes = await asyncio.to_thread(tree_size_bytes, path)
        try:
            await engine.host.volumes.remove(volume.name)
        except (Conflict, NotFound):
            # Taken or removed by somebody else in the meantime.
            continue
        deleted.append(volume.name)
        reclaimed_bytes += size_bytes
    engine.events.publish("volume", "prune", "", {"reclaimed": str(reclaimed_bytes)})
    await exchange.respond_json(200, {"VolumesDeleted": deleted, "SpaceReclaimed": reclaimed_bytes})
