"""The networks of an engine that has none of its own: host and none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.engine.api import filters as filtering
from orlop.engine.api.render import network_id
from orlop.engine.api.router import Route
from orlop.engine.api.times import ZERO
from orlop.lib.errors import NotFound, NotImplementedYet

if TYPE_CHECKING:
    from orlop.engine.api.exchange import Exchange
    from orlop.engine.engine import Engine

NETWORK_FILTERS = frozenset({"driver", "id", "label", "name", "scope", "type", "dangling"})
NETWORKS = (("host", "host"), ("none", "null"))


def routes(engine: Engine) -> list[Route]:
    """The rows of the route table that are answered here."""
    return [
        Route("GET", "/networks", _networks),
        Route("GET", "/networks/{name}", _network),
        Route("POST", "/networks/create", _no_networks),
    ]


async def _no_networks(exchange: Exchange) -> None:
    raise NotImplementedYet("this engine has the networks host and none only")


def _render_network(name: str, driver: str) -> dict[str, Any]:
    return {
        "Name": name,
        "Id": network_id(name),
        "Created": ZERO,
        "Scope": "local",
        "Driver": driver,
        "EnableIPv4": True,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": None, "Config": []},
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigOnly": False,
        "Containers": {},
        "Options": {},
        "Labels": {},
    }


async def _networks(exchange: Exchange) -> None:
    filters = filtering.parse_filters(exchange.text("filters"), NETWORK_FILTERS)
    found = [
        _render_network(name, driver)
        for name, driver in NETWORKS
        if filtering.match_any(filters, "driver", (driver,))
        and filtering.match_prefix(filters, "name", name)
        and filtering.match_prefix(filters, "id", network_id(name))
    ]
    await exchange.respond_json(200, found)


async def _network(exchange: Exchange) -> None:
    wanted = exchange.parameters["name"]
    for name, driver in NETWORKS:
        if wanted in (name, network_id(name)):
            await exchange.respond_json(200, _render_network(name, driver))
            return
    raise NotFound(f"network {wanted} not found")
