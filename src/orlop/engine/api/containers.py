"""Requests about containers that are answered at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.engine.api import render, settling
from orlop.engine.api.router import Route, bind
from orlop.engine.container import names
from orlop.engine.images import check_reference
from orlop.lib.errors import Conflict, InvalidArgument, NotFound
from orlop.wire.docker.body import JSON_TYPE
from orlop.wire.docker.fields import Object, quoted

if TYPE_CHECKING:
    from orlop.engine.api.exchange import Exchange
    from orlop.engine.engine import Engine

MAX_SIDE = (1 << 16) - 1
"""Of a terminal, for the kernel; clients may say more."""


def routes(engine: Engine) -> list[Route]:
    """The rows of the route table that are answered here."""
    on = bind(engine)
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
        # A slash is in the name of a link, `CONTAINER/ALIAS`.
        on("DELETE", "/containers/{id:path}", _remove),
    ]


async def _list(engine: Engine, exchange: Exchange) -> None:
    from orlop.engine.api import container_list

    await container_list.respond(engine, exchange)


async def _create(engine: Engine, exchange: Exchange) -> None:
    from orlop.engine.api.create_request import check_platform, merge_image, parse_create
    from orlop.engine.api.create_warnings import find_warnings
    from orlop.engine.api.engine_mounts import let_go
    from orlop.engine.api.older_clients import as_meant

    body = Object(as_meant(await exchange.json(), exchange.api_version))
    name = exchange.text("name") or names.new_name(engine.has_name)
    has_networks = engine.host.networks is not None
    defaults = engine.settings.defaults
    body = defaults.fill(body)
    config = parse_create(body, names.check_name(name), networks=has_networks)
    config = defaults.name_servers(config)
    config = let_go(config, body.section("HostConfig"), str(engine.settings.data_dir))
    image = engine.images.get(check_reference(config.image))
    check_platform(image, config.image, exchange.text("platform"))
    config = merge_image(config, body, image)
    container_id = await engine.create(config)
    warnings = find_warnings(config, body.section("HostConfig"), engine.host.controllers)
    if not has_networks and body.section("HostConfig").text("NetworkMode") in ("", "default"):
        warnings.append("This engine has no bridge network yet: the container has no network.")
    await exchange.respond_json(201, {"Id": container_id, "Warnings": warnings})


async def _inspect(engine: Engine, exchange: Exchange) -> None:
    container = engine.find(exchange.parameters["id"])
    if not exchange.flag("size"):
        await exchange.respond_bytes(200, render.inspect_json(container) + b"\n", JSON_TYPE)
        return
    from orlop.engine.api.container_list import sizes

    await exchange.respond_json(200, render.inspect(container) | await sizes(container))


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
    ref = exchange.parameters["id"]
    try:
        await engine.kill_container(ref, exchange.text("signal") or "SIGKILL")
    except (NotFound, Conflict, InvalidArgument) as error:
        raise type(error)(f"cannot kill container: {ref}: {error}") from error
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
    from orlop.engine.api import maintenance

    await maintenance.update(engine, exchange)


async def _resize(engine: Engine, exchange: Exchange) -> None:
    height, width = window(exchange)
    container = engine.find(exchange.parameters["id"])
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
    return _side(exchange, "h", "height"), _side(exchange, "w", "width")


def _side(exchange: Exchange, key: str, name: str) -> int:
    text = exchange.text(key)
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()):
        raise InvalidArgument(f"invalid resize {name} {quoted(text)}: invalid syntax")
    if text != digits or int(digits) >= 1 << 32:
        raise InvalidArgument(f"invalid resize {name} {quoted(text)}: value out of range")
    return min(int(digits), MAX_SIDE)


async def _top(engine: Engine, exchange: Exchange) -> None:
    from orlop.engine.container import top

    container = engine.find(exchange.parameters["id"])
    if not container.record.state.is_up:
        raise Conflict(f"container {container.record.id} is not running")
    columns = top.parse_arguments(exchange.text("ps_args"))
    await settling.await_first_program(container)
    titles, rows = top.list_processes(container.cgroup, columns)
    container.publish("top")
    await exchange.respond_json(200, {"Titles": titles, "Processes": rows})


async def _remove(engine: Engine, exchange: Exchange) -> None:
    ref = exchange.parameters["id"]
    if exchange.flag("link"):
        await _remove_link(engine, ref)
    else:
        await engine.remove_container(ref, force=exchange.flag("force"), volumes=exchange.flag("v"))
    await exchange.respond_empty()


async def _remove_link(engine: Engine, name: str) -> None:
    """*name* is `CONTAINER/ALIAS`."""
    from orlop.engine.network import membership

    parent, slash, alias = name.removeprefix("/").partition("/")
    if not slash:
        raise Conflict("Conflict, cannot remove the default link name of the container")
    await membership.unlink(engine.find(parent), alias)


async def _prune(engine: Engine, exchange: Exchange) -> None:
    from orlop.engine.api import maintenance

    await maintenance.prune(engine, exchange)
