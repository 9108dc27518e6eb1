"""`/orlop/console...` and `/orlop/engine...` of the API: docs/system-api.md describes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.engine.api.router import Route
from orlop.engine.images import check_reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.engine.api.exchange import Exchange
    from orlop.system.boot import Boot
    from orlop.system.consoles import Consoles
    from orlop.system.engines import Engines

MAX_REASON = 300


def make_routes(boot: Boot) -> Sequence[Route]:
    """The routes for the machine that *boot* runs."""
    handlers = _Handlers(boot)
    return (
        Route("GET", "/orlop/console", handlers.show),
        Route("POST", "/orlop/console/switch", handlers.switch),
        Route("POST", "/orlop/console/failed", handlers.failed),
        Route("GET", "/orlop/engine", handlers.show_engine),
        Route("POST", "/orlop/engine/switch", handlers.switch_engine),
    )


class _Handlers:
    """One method per route."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot

    async def show(self, exchange: Exchange) -> None:
        await exchange.respond_json(200, self._boot.chosen_console.state())

    async def switch(self, exchange: Exchange) -> None:
        await self._switch(exchange, self._boot.chosen_console)

    async def show_engine(self, exchange: Exchange) -> None:
        await exchange.respond_json(200, self._boot.chosen_engine.state())

    async def switch_engine(self, exchange: Exchange) -> None:
        await self._switch(exchange, self._boot.chosen_engine)

    async def _switch(self, exchange: Exchange, chosen: Consoles | Engines) -> None:
        self._boot.power.refuse_while_stopping()
        body = await exchange.json()
        name = check_reference(str(body.get("name") or ""))
        await chosen.switch(name, only_enable=body.get("only_enable") is True)
        await exchange.respond_empty(204)

    async def failed(self, exchange: Exchange) -> None:
        body = await exchange.json()
        text = "".join(filter(str.isprintable, str(body.get("reason") or "")))
        self._boot.chosen_console.failed(text[:MAX_REASON])
        await exchange.respond_empty(204)
