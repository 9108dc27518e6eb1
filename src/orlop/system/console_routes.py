"""The `/orlop/console...` part of the API: docs/system-api.md describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.engine.api.router import Route
from orlop.engine.images import check_reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.engine.api.exchange import Exchange
    from orlop.system.boot import Boot

MAX_REASON = 300


def make_routes(boot: Boot) -> Sequence[Route]:
    """The routes for the machine that *boot* runs."""
    handlers = _Handlers(boot)
    return (
        Route("GET", "/orlop/console", handlers.show),
        Route("POST", "/orlop/console/switch", handlers.switch),
        Route("POST", "/orlop/console/failed", handlers.failed),
    )


class _Handlers:
    """One method per route."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot

    async def show(self, exchange: Exchange) -> None:
        await exchange.respond_json(200, self._boot.chosen_console.state())

    async def switch(self, exchange: Exchange) -> None:
        self._boot.power.refuse_while_stopping()
        body = await exchange.json()
        name = check_reference(str(body.get("name") or ""))
        only_enable = body.get("only_enable") is True
        await self._boot.chosen_console.switch(name, only_enable=only_enable)
        await exchange.respond_empty(204)

    async def failed(self, exchange: Exchange) -> None:
        body = await exchange.json()
        text = "".join(filter(str.isprintable, str(body.get("reason") or "")))
        self._boot.chosen_console.failed(text[:MAX_REASON])
        await exchange.respond_empty(204)
