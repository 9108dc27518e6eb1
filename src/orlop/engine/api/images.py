"""Requests about images and networks: what there is, which is little and cannot change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.engine.api import filters as filtering
from orlop.engine.api.render import health_check, network_id
from orlop.engine.api.router import Route
from orlop.engine.api.times import ZERO, to_text
from orlop.lib.errors import NotFound, NotImplementedYet

if TYPE_CHECKING:
    from orlop.engine.api.exchange import Exchange
    from orlop.engine.engine import Engine
    from orlop.engine.images import Image

IMAGE_FILTERS = frozenset({"reference", "label", "dangling", "before", "since", "until"})
NETWORK_FILTERS = frozenset({"driver", "id", "label", "name", "scope", "type", "dangling"})
NETWORKS = (("host", "host"), ("none", "null"))


def routes(engine: Engine) -> list[Route]:
    """The rows of the route table that are answered here."""

    async def images(exchange: Exchange) -> None:
        filters = filtering.parse_filters(exchange.text("filters"), IMAGE_FILTERS)
        found = [image for image in engine.images.all() if _selected(image, filters)]
        await exchange.respond_json(200, [render_image(image) for image in found])

    async def inspect(exchange: Exchange) -> None:
        image = engine.images.get(exchange.parameters["name"])
        await exchange.respond_json(200, inspect_image(image))

    async def history(exchange: Exchange) -> None:
        image = engine.images.get(exchange.parameters["name"])
        entry = {
            "Id": image.id,
            "Created": image.created_ns // 1_000_000_000,
            "CreatedBy": "part of the system image",
            "Tags": [f"{image.name}:latest"],
            "Size": 0,
            "Comment": "",
        }
        await exchange.respond_json(200, [entry])

    return [
        Route("GET", "/images/json", images),
        Route("GET", "/images/{name:path}/json", inspect),
        Route("GET", "/images/{name:path}/history", history),
        Route("POST", "/images/create", _no_store),
        Route("POST", "/images/load", _no_store),
        Route("POST", "/images/{name:path}/tag", _no_store),
        Route("POST", "/images/{name:path}/push", _no_store),
        Route("GET", "/images/{name:path}/get", _no_store),
        Route("DELETE", "/images/{name:path}", _no_store),
        Route("POST", "/build", _no_store),
        Route("POST", "/commit", _no_store),
        Route("GET", "/networks", _networks),
        Route("GET", "/networks/{name}", _network),
        Route("POST", "/networks/create", _no_networks),
    ]


async def _no_store(exchange: Exchange) -> None:
    raise NotImplementedYet("this engine runs the images of the system, and cannot change them")


async def _no_networks(exchange: Exchange) -> None:
    raise NotImplementedYet("this engine has the networks host and none only")


def _selected(image: Image, filters: filtering.Filters) -> bool:
    return (
        filtering.match_any(filters, "reference", (image.name, f"{image.name}:latest"))
        and filtering.match_labels(filters.get("label", ()), dict(image.labels))
        and "true" not in filters.get("dangling", ())
    )


def render_image(image: Image) -> dict[str, Any]:
    """An element of `GET /images/json`."""
    return {
        "Id": image.id,
        "ParentId": "",
        "RepoTags": [f"{image.name}:latest"],
        "RepoDigests": [],
        "Created": image.created_ns // 1_000_000_000,
        "Size": 0,
        "SharedSize": -1,
        "Labels": dict(image.labels),
        "Containers": -1,
    }


def inspect_image(image: Image) -> dict[str, Any]:
    """`GET /images/NAME/json`."""
    import os

    machine = os.uname().machine
    config: dict[str, Any] = {
        "Env": [f"{key}={value}" for key, value in image.environment],
        "Cmd": list(image.command) or None,
        "Entrypoint": list(image.entrypoint) or None,
        "User": image.user,
        "WorkingDir": image.working_dir,
        "Labels": dict(image.labels),
        "StopSignal": image.stop_signal,
    }
    if image.healthcheck is not None:
        config["Healthcheck"] = health_check(image.healthcheck)
    return {
        "Id": image.id,
        "RepoTags": [f"{image.name}:latest"],
        "RepoDigests": [],
        "Parent": "",
        "Comment": "",
        "Created": to_text(image.created_ns),
        "Config": config,
        "Architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine),
        "Os": "linux",
        "Size": 0,
        "GraphDriver": {"Name": "overlay2", "Data": {"LowerDir": ":".join(map(str, image.lower))}},
        "RootFS": {"Type": "layers", "Layers": [image.id]},
    }


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
