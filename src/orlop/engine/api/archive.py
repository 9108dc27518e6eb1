"""`/containers/ID/archive`: files of a container in and out."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from orlop.engine.api.body import body_pipe
from orlop.engine.api.router import Route, bind
from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from orlop.engine.api.exchange import Exchange
    from orlop.engine.engine import Engine

STAT_HEADER = "X-Docker-Container-Path-Stat"
TAR_TYPE = "application/x-tar"


def routes(engine: Engine) -> list[Route]:
    """The rows of the route table that are answered here."""

    on = bind(engine)
    return [
        on("GET", "/containers/{id}/archive", _get),
        on("HEAD", "/containers/{id}/archive", _head),
        on("PUT", "/containers/{id}/archive", _put),
    ]


def _path(exchange: Exchange) -> str:
    """The path asked for, absolute; a slash or `/.` at its end means something and stays."""
    path = exchange.text("path")
    if not path or "\0" in path:
        raise InvalidArgument("bad parameter: 'path' cannot be empty")
    return "/" + path.lstrip("/")


def _stat_header(answer: dict[str, Any]) -> tuple[str, str]:
    text = json.dumps(answer["stat"], separators=(",", ":"), ensure_ascii=False)
    return STAT_HEADER, base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()


async def _head(engine: Engine, exchange: Exchange) -> None:
    from orlop.engine.archives import archive

    container = engine.find(exchange.parameters["id"])
    request = {"op": "stat", "path": _path(exchange)}
    async with archive.transfer(container, request) as transfer:
        header = _stat_header(await transfer.answer())
    await exchange.respond_bytes(200, b"", "application/json", [header])


async def _get(engine: Engine, exchange: Exchange) -> None:
    from orlop.engine.archives import archive

    container = engine.find(exchange.parameters["id"])
    request = {"op": "get", "path": _path(exchange)}
    async with archive.transfer(container, request) as transfer:
        header = _stat_header(await transfer.answer())
        container.publish("archive-path")
        await exchange.begin_stream(TAR_TYPE, more_headers=[header])
        async for data in transfer.content():
            await exchange.write(data)
    await exchange.end()


async def _put(engine: Engine, exchange: Exchange) -> None:
    from orlop.engine.archives import archive

    container = engine.find(exchange.parameters["id"])
    request: dict[str, Any] = {
        "op": "put",
        "path": _path(exchange),
        "keep_kind": exchange.flag("noOverwriteDirNonDir"),
        "owner": None,
    }
    if exchange.flag("copyUIDGID") and (container.config.user or container.image().user):
        await container.hold_root()
        try:
            request["owner"] = archive.owner_of(container)
        finally:
            container.drop_root()
    async with (
        body_pipe(exchange) as body,
        archive.transfer(container, request, stdin_fd=body) as transfer,
    ):
        await transfer.answer()
    container.publish("extract-to-dir")
    await exchange.respond_bytes(200, b"", "application/json")
