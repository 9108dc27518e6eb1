"""The `/orlop/services...` part of the API: docs/system-api.md describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.engine.api.router import Route
from orlop.lib.errors import InvalidArgument
from orlop.system import status
from orlop.wire.compose_model import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop.engine.api.exchange import Exchange
    from orlop.system.boot import Boot

MAX_NAMES = 256


def make_routes(boot: Boot) -> Sequence[Route]:
    """The routes for the machine that *boot* runs."""
    handlers = _Handlers(boot)
    return (
        Route("GET", "/orlop/services", handlers.services),
        Route("POST", "/orlop/services/add", handlers.add),
        Route("POST", "/orlop/services/remove", handlers.remove),
        Route("POST", "/orlop/services/enable", handlers.enable),
        Route("POST", "/orlop/services/disable", handlers.disable),
        Route("POST", "/orlop/services/pull", handlers.pull),
        Route("GET", "/orlop/services/{name}", handlers.service),
        Route("POST", "/orlop/services/{name}/start", handlers.start),
        Route("POST", "/orlop/services/{name}/stop", handlers.stop),
        Route("POST", "/orlop/services/{name}/restart", handlers.restart),
        Route("POST", "/orlop/services/{name}/kill", handlers.kill),
        Route("GET", "/orlop/catalogue", handlers.catalogue),
    )


class _Handlers:
    """One method per route."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot

    async def services(self, exchange: Exchange) -> None:
        found = [
            status.service_status(item) | self._more(item.name)
            for item in self._boot.services.statuses()
        ]
        await exchange.respond_json(200, [*found])

    async def service(self, exchange: Exchange) -> None:
        name = exchange.parameters["name"]
        found = status.service_status(self._boot.services.status(name)) | self._more(name)
        definition = self._boot.services.definition(name)
        found["definition"] = to_json(definition)
        found["image_id"] = self._boot.images.id_of(definition.image) or None
        found["memory_events"] = status.system_cgroup(name)
        await exchange.respond_json(200, found)

    def _more(self, name: str) -> dict[str, bool]:
        """What the configuration says about a service."""
        current = self._boot.config.current
        return {
            "enabled": current.is_enabled(name),
            "added": name in current.service_files,
        }

    async def start(self, exchange: Exchange) -> None:
        self._boot.power.refuse_while_stopping()
        await self._boot.services.start(exchange.parameters["name"])
        await exchange.respond_empty(204)

    async def stop(self, exchange: Exchange) -> None:
        self._boot.power.refuse_while_stopping()
        await self._boot.services.stop(exchange.parameters["name"])
        await exchange.respond_empty(204)

    async def restart(self, exchange: Exchange) -> None:
        self._boot.power.refuse_while_stopping()
        await self._boot.services.restart(exchange.parameters["name"])
        await exchange.respond_empty(204)

    async def kill(self, exchange: Exchange) -> None:
        self._boot.power.refuse_while_stopping()
        await self._boot.added.kill(exchange.parameters["name"], exchange.text("signal"))
        await exchange.respond_empty(204)

    async def add(self, exchange: Exchange) -> None:
        self._boot.power.refuse_while_stopping()
        await exchange.respond_json(200, await self._boot.added.add(await exchange.json()))

    async def remove(self, exchange: Exchange) -> None:
        self._boot.power.refuse_while_stopping()
        names = _names(await exchange.json())
        await exchange.respond_json(200, await self._boot.added.remove(names))

    async def enable(self, exchange: Exchange) -> None:
        await self._switch(exchange, enabled=True)

    async def disable(self, exchange: Exchange) -> None:
        await self._switch(exchange, enabled=False)

    async def _switch(self, exchange: Exchange, *, enabled: bool) -> None:
        self._boot.power.refuse_while_stopping()
        names = _names(await exchange.json())
        await exchange.respond_json(200, await self._boot.added.set_enabled(names, enabled))

    async def pull(self, exchange: Exchange) -> None:
        self._boot.power.refuse_while_stopping()
        names = _names(await exchange.json())
        await exchange.respond_json(200, await self._boot.added.pull(names))

    async def catalogue(self, exchange: Exchange) -> None:
        place = exchange.text("from")
        await exchange.respond_json(200, await self._boot.added.catalogue.index(place))


def _names(body: Mapping[str, object]) -> list[str]:
    names = body.get("names")
    if not isinstance(names, list) or not names or len(names) > MAX_NAMES:
        raise InvalidArgument("names: a list of services expected")
    return [str(name) for name in names]
