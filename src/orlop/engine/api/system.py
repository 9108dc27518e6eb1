"""Requests about the engine as a whole: ping, version, info, events, disk use, the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.engine.api import cluster
from orlop.engine.api.router import Route

if TYPE_CHECKING:
    from orlop.engine.api.exchange import Exchange
    from orlop.engine.engine import Engine

PING_HEADERS = (
    ("Cache-Control", "no-cache, no-store, must-revalidate"),
    ("Pragma", "no-cache"),
    # The classic builder; "2" would send clients to BuildKit.
    ("Builder-Version", "1"),
    ("Swarm", "inactive"),
)


def routes(engine: Engine) -> list[Route]:
    """The rows of the route table that are answered here."""

    async def version(exchange: Exchange) -> None:
        from orlop.engine.api.info import render_version

        await exchange.respond_json(200, render_version(engine))

    async def info(exchange: Exchange) -> None:
        from orlop.engine.api.info import render_info

        await exchange.respond_json(200, render_info(engine, exchange.api_version))

    async def events(exchange: Exchange) -> None:
        from orlop.engine.api import events

        await events.respond(engine, exchange)

    async def df(exchange: Exchange) -> None:
        from orlop.engine.api import disk_usage

        await disk_usage.respond(engine, exchange)

    return [
        Route("GET", "/_ping", _ping),
        Route("HEAD", "/_ping", _ping),
        Route("GET", "/version", version),
        Route("GET", "/info", info),
        Route("GET", "/events", events),
        Route("GET", "/system/df", df),
        *cluster.routes(),
    ]


async def _ping(exchange: Exchange) -> None:
    data = b"" if exchange.method == "HEAD" else b"OK"
    await exchange.respond_bytes(200, data, "text/plain; charset=utf-8", PING_HEADERS)
