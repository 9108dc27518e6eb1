"""Requests about containers that are answered at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from orlop.engine import names
from orlop.engine.api import filters as filtering
from orlop.engine.api import network_render, render
from orlop.engine.api.router import Route
from orlop.engine.images import check_reference
from orlop.engine.state import Health, State
from orlop.lib.errors import Conflict, InvalidArgument, NotFound, OrlopError
from orlop.wire.docker.fields import Object

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orlop.engine.api.exchange import Exchange
    from orlop.engine.container import Container
    from orlop.engine.engine import Engine

LIST_FILTERS = frozenset(
    {
        "ancestor",
        "before",
        "exited",
        "expose",
        "health",
        "id",
        "is-task",
        "isolation",
        "label",
        "name",
        "network",
        "publish",
        "since",
        "status",
        "volume",
    }
)


def routes(engine: Engine) -> list[Route]:
    """The rows of the route table that are answered here."""

    def on(
        method: str, pattern: str, handler: Callable[[Engine, Exchange], Awaitable[None]]
    ) -> Route:
        async def bound(exchange: Exchange) -> None:
            await handler(engine, exchange)

        return Route(method, pattern, bound)

    return [
        on("GET", "/containers/json", _list),
        on("POST", "/containers/create", _create),
        on("POST", "/containers/prune", _prune),
        on("GET", "/containers/{id}/json", _inspect),
        on("POST", "/containers/{id}/start", _start),
        on("POST", "/containers/{id}/stop", _stop),
        on("POST", "/containers/{id}/restart", _restart),
        on("POST", "/containers/{id}/kill", _kill),
        on("POST", "/containers/{id}/pause", _pause),
        on("POST", "/containers/{id}/unpause", _unpause),
        on("POST", "/containers/{id}/rename", _rename),
        on("POST", "/containers/{id}/update", _update),
        on("POST", "/containers/{id}/resize", _resize),
        on("GET", "/containers/{id}/top", _top),
        on("DELETE", "/containers/{id}", _remove),
    ]


async def _list(engine: Engine, exchange: Exchange) -> None:
    filters = filtering.parse_filters(exchange.text("filters"), LIST_FILTERS)
    limit = exchange.integer("limit") or 0
    everything = exchange.flag("all") or limit > 0 or bool({"status", "exited"} & filters.keys())
    found = [
        container
        for container in engine.all()
        if (everything or container.record.state.is_up or _is_restarting(container))
        and _selected(engine, container, filters)
    ]
    if limit > 0:
        found = found[:limit]
    await exchange.respond_json(200, [render.summary(container) for container in found])


def _is_restarting(container: Container) -> bool:
    return container.record.state is State.RESTARTING


def _selected(engine: Engine, container: Container, filters: filtering.Filters) -> bool:
    known, config = container.record, container.config
    health = "none" if known.health is Health.NONE else known.health.value
    plain = (
        filtering.match_any(filters, "status", (known.state.value,))
        and filtering.match_any(filters, "exited", (str(known.exit_code),))
        and filtering.match_any(filters, "health", (health,))
        and _in_network(container, filters)
        and filtering.match_any(
            filters, "volume", [part for m in config.mounts for part in (m.target, m.source)]
        )
        and filtering.match_prefix(filters, "id", known.id)
        and filtering.match_labels(filters.get("label", ()), dict(config.labels))
    )
    return plain and _selected_by_others(engine, container, filters)


def _in_network(container: Container, filters: filtering.Filters) -> bool:
    """By name, id or the beginning of an id."""
    wanted = filters.get("network")
    if wanted is None:
        return True
    shown = network_render.endpoints(container)
    ids = [str(endpoint["NetworkID"]) for endpoint in shown.values()]
    return any(item in shown or any(id_.startswith(item) for id_ in ids) for item in wanted)


def _selected_by_others(engine: Engine, container: Container, filters: filtering.Filters) -> bool:
    config = container.config
    wanted_names = filters.get("name")
    if wanted_names is not None and not any(
        name.removeprefix("/").strip("^$") in config.name for name in wanted_names
    ):
        return False
    ancestors = (config.image, config.image.removesuffix(":latest"), container.record.image_id)
    if not filtering.match_any(filters, "ancestor", ancestors):
        return False
    created = container.record.created_ns
    if any(created >= engine.find(ref).record.created_ns for ref in filters.get("before", ())):
        return False
    return all(created > engine.find(ref).record.created_ns for ref in filters.get("since", ()))


async def _create(engine: Engine, exchange: Exchange) -> None:
    from orlop.engine.api.create_request import merge_image, parse_create
    from orlop.engine.api.create_warnings import find_warnings

    body = Object(await exchange.json())
    name = exchange.text("name") or names.new_name(engine.has_name)
    has_networks = engine.host.networks is not None
    config = parse_create(body, names.check_name(name), networks=has_networks)
    config = merge_image(config, body, engine.images.get(check_reference(config.image)))
    container_id = await engine.create(config)
    warnings = find_warnings(config, body.section("HostConfig"), engine.host.controllers)
    if not has_networks and body.section("HostConfig").text("NetworkMode") in ("", "default"):
        warnings.append("This engine has no bridge network yet: the container has no network.")
    await exchange.respond_json(201, {"Id": container_id, "Warnings": warnings})


async def _inspect(engine: Engine, exchange: Exchange) -> None:
    await exchange.respond_json(200, render.inspect(engine.find(exchange.parameters["id"])))


async def _start(engine: Engine, exchange: Exchange) -> None:
    await engine.start_container(exchange.parameters["id"])
    await exchange.respond_empty()


async def _stop(engine: Engine, exchange: Exchange) -> None:
    await engine.stop_container(
        exchange.parameters["id"], grace_s=_grace(exchange), signal=exchange.text("signal") or None
    )
    await exchange.respond_empty()


async def _restart(engine: Engine, exchange: Exchange) -> None:
    await engine.restart_container(exchange.parameters["id"], grace_s=_grace(exchange))
    await exchange.respond_empty()


def _grace(exchange: Exchange) -> float | None:
    seconds = exchange.integer("t")
    return None if seconds is None else float(seconds)


async def _kill(engine: Engine, exchange: Exchange) -> None:
    await engine.kill_container(exchange.parameters["id"], exchange.text("signal") or "SIGKILL")
    await exchange.respond_empty()


async def _pause(engine: Engine, exchange: Exchange) -> None:
    await engine.pause_container(exchange.parameters["id"])
    await exchange.respond_empty()


async def _unpause(engine: Engine, exchange: Exchange) -> None:
    await engine.unpause_container(exchange.parameters["id"])
    await exchange.respond_empty()


async def _rename(engine: Engine, exchange: Exchange) -> None:
    await engine.rename_container(exchange.parameters["id"], exchange.text("name"))
    await exchange.respond_empty()


async def _update(engine: Engine, exchange: Exchange) -> None:
    from orlop.engine.api.request_resources import parse_resources, parse_restart

    container = engine.find(exchange.parameters["id"])
    body = Object(await exchange.json())
    policy = None
    if body.section("RestartPolicy").text("Name"):
        policy = parse_restart(body.section("RestartPolicy"))
    wanted = parse_resources(body)
    resources = merge(container.config.resources, wanted)
    changed = None if resources == container.config.resources else resources
    await container.update(policy, changed)
    await exchange.respond_json(200, {"Warnings": None})


def merge[T](old: T, new: T) -> T:
    """*old* with every field of *new* that is set."""
    import dataclasses

    assert dataclasses.is_dataclass(new)
    assert not isinstance(new, type)
    values = {field.name: getattr(new, field.name) for field in dataclasses.fields(new)}
    kept = {name: value for name, value in values.items() if value not in (None, "")}
    return dataclasses.replace(old, **kept)  # type: ignore[type-var]


async def _resize(engine: Engine, exchange: Exchange) -> None:
    container = engine.find(exchange.parameters["id"])
    height, width = window(exchange)
    if not container.record.state.is_up:
        raise Conflict(f"container {container.record.id} is not running")
    container.io.resize(height, width)
    container.publish("resize", {"height": str(height), "width": str(width)})
    await exchange.respond_empty(200)


def window(exchange: Exchange) -> tuple[int, int]:
    """Height and width of a resize request.

    Raises:
        InvalidArgument: missing, or no size of a terminal.
    """
    height, width = exchange.integer("h"), exchange.integer("w")
    if height is None or width is None or not (0 <= height < 1 << 16 and 0 <= width < 1 << 16):
        raise InvalidArgument("h and w must be the height and width of a terminal")
    return height, width


async def _top(engine: Engine, exchange: Exchange) -> None:
    from orlop.engine import top

    container = engine.find(exchange.parameters["id"])
    if not container.record.state.is_up:
        raise Conflict(f"container {container.record.id} is not running")
    columns = top.parse_arguments(exchange.text("ps_args"))
    titles, rows = top.list_processes(container.cgroup, columns)
    container.publish("top")
    await exchange.respond_json(200, {"Titles": titles, "Processes": rows})


async def _remove(engine: Engine, exchange: Exchange) -> None:
    if exchange.flag("link"):
        raise InvalidArgument("links are not supported")
    await engine.remove_container(
        exchange.parameters["id"], force=exchange.flag("force"), volumes=exchange.flag("v")
    )
    await exchange.respond_empty()


async def _prune(engine: Engine, exchange: Exchange) -> None:
    filters = filtering.parse_filters(exchange.text("filters"), {"label", "until", "label!"})
    deleted = []
    for container in engine.all():
        stopped = container.record.state in (State.CREATED, State.EXITED, State.DEAD)
        labels = dict(container.config.labels)
        if stopped and filtering.match_labels(filters.get("label", ()), labels):
            try:
                await engine.remove_container(container.record.id)
            except (Conflict, NotFound):
                # Started or removed by somebody else in the meantime.
                continue
            except OrlopError as error:
                engine.host.warn(f"prune: {error}, ignoring")
                continue
            deleted.append(container.record.id)
        await asyncio.sleep(0)
    await exchange.respond_json(200, {"ContainersDeleted": deleted, "SpaceReclaimed": 0})
