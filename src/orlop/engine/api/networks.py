"""Requests about networks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from orlop.engine.api import filters as filtering
from orlop.engine.api import network_render
from orlop.engine.api.router import Route, bind
from orlop.engine.api.times import parse_time
from orlop.lib.errors import InvalidArgument, NotFound, OrlopError
from orlop.wire.docker.fields import Object

if TYPE_CHECKING:
    from orlop.engine.api.exchange import Exchange
    from orlop.engine.engine import Engine
    from orlop.engine.network.model import Network
    from orlop.engine.network.networks import Networks

LIST_FILTERS = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})
PRUNE_FILTERS = frozenset({"label", "label!", "until"})


def routes(engine: Engine) -> list[Route]:
    """The rows of the route table that are answered here, for an engine with networks."""
    assert engine.host.networks is not None
    networks: Networks = engine.host.networks

    on = bind(engine, networks)
    return [
        on("GET", "/networks", _list),
        on("GET", "/networks/", _list),
        on("GET", "/networks/{id}", _inspect),
        on("POST", "/networks/create", _create),
        on("POST", "/networks/prune", _prune),
        on("POST", "/networks/{id}/connect", _connect),
        on("POST", "/networks/{id}/disconnect", _disconnect),
        on("DELETE", "/networks/{id}", _remove),
    ]


async def _list(engine: Engine, networks: Networks, exchange: Exchange) -> None:
    filters = filtering.parse_filters(exchange.text("filters"), LIST_FILTERS)
    shown = [
        network_render.network(network, [], str)
        for network in networks.all()
        if _selected(networks, network, filters)
    ]
    await exchange.respond_json(200, shown)


def _selected(networks: Networks, network: Network, filters: filtering.Filters) -> bool:
    kind = "builtin" if network.is_predefined else "custom"
    for wanted in filters.get("type", ()):
        if wanted not in ("builtin", "custom"):
            raise InvalidArgument(f"invalid filter: 'type'='{wanted[:40]}'")
    dangling = not network.is_predefined and not networks.endpoints_in(network)
    wanted_dangling = {value in ("1", "true", "True") for value in filters.get("dangling", ())}
    return (
        filtering.match_any(filters, "driver", (network.driver.value,))
        and filtering.match_any(filters, "scope", ("local",))
        and filtering.match_any(filters, "type", (kind,))
        and filtering.match_prefix(filters, "id", network.id)
        and filtering.match_labels(filters.get("label", ()), dict(network.labels))
        and (not wanted_dangling or dangling in wanted_dangling)
        and _name_matches(filters.get("name"), network.name)
    )


def _name_matches(wanted: frozenset[str] | None, name: str) -> bool:
    """dockerd takes the filter as a part of the name or a pattern; here `^` and `$` are heeded."""
    if wanted is None:
        return True
    for pattern in wanted:
        text = re.escape(pattern.removeprefix("^").removesuffix("$"))
        start = "^" if pattern.startswith("^") else ""
        end = "$" if pattern.endswith("$") else ""
        if re.search(start + text + end, name):
            return True
    return False


async def _inspect(engine: Engine, networks: Networks, exchange: Exchange) -> None:
    network = networks.find(exchange.parameters["id"])
    await exchange.respond_json(200, _render(engine, networks, network))


def _render(engine: Engine, networks: Networks, network: Network) -> dict[str, Any]:
    def name_of(container_id: str) -> str:
        try:
            return engine.find(container_id).name
        except NotFound:
            return ""

    return network_render.network(network, networks.endpoints_in(network), name_of)


async def _create(engine: Engine, networks: Networks, exchange: Exchange) -> None:
    from orlop.engine.api.network_request import parse_network

    network = await networks.create(parse_network(Object(await exchange.json())))
    await exchange.respond_json(201, {"Id": network.id, "Warning": ""})


async def _remove(engine: Engine, networks: Networks, exchange: Exchange) -> None:
    await networks.remove(exchange.parameters["id"])
    await exchange.respond_empty()


async def _connect(engine: Engine, networks: Networks, exchange: Exchange) -> None:
    from orlop.engine.api.network_request import parse_endpoint
    from orlop.engine.network import membership

    body = Object(await exchange.json())
    container = engine.find(body.text("Container"))
    network = networks.find(exchange.parameters["id"])
    wanted = parse_endpoint(network.name, body.section("EndpointConfig"))
    await membership.connect(networks, container, wanted)
    await exchange.respond_empty(200)


async def _disconnect(engine: Engine, networks: Networks, exchange: Exchange) -> None:
    from orlop.engine.network import membership

    body = Object(await exchange.json())
    container = engine.find(body.text("Container"))
    await membership.disconnect(networks, container, exchange.parameters["id"])
    await exchange.respond_empty(200)


async def _prune(engine: Engine, networks: Networks, exchange: Exchange) -> None:
    filters = filtering.parse_filters(exchange.text("filters"), PRUNE_FILTERS)
    until_ns = min((parse_time(text) for text in filters.get("until", ())), default=0)
    deleted = []
    for network in networks.all():
        labels = dict(network.labels)
        if network.is_predefined or networks.is_wanted(network, engine.all()):
            continue
        if not filtering.match_labels(filters.get("label", ()), labels):
            continue
        unwanted = filters.get("label!", ())
        if unwanted and filtering.match_labels(unwanted, labels):
            continue
        if until_ns and network.created_ns >= until_ns:
            continue
        try:
            await networks.remove(network.id)
        except OrlopError as error:
            engine.host.warn(f"prune: {error}, ignoring")
            continue
        deleted.append(network.name)
    await exchange.respond_json(200, {"NetworksDeleted": deleted or None})
