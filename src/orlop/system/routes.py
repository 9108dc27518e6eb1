"""The `/orlop/...` part of the API on the system socket; docs/system-api.md describes it.

Each handler is a few lines between the exchange and the object that does the work.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from orlop.engine.api.router import Route
from orlop.system import console_routes, look_routes, status
from orlop.system.config import routes as config_routes
from orlop.system.install import routes as install_routes
from orlop.system.power import PowerAction
from orlop.system.services import routes as service_routes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.engine.api.exchange import Exchange
    from orlop.system.boot import Boot


def make_routes(boot: Boot) -> Sequence[Route]:
    """The routes for the machine that *boot* runs."""
    handlers = _Handlers(boot)
    return (
        Route("GET", "/orlop/status", handlers.status),
        Route("GET", "/orlop/boot", handlers.boot),
        *config_routes.make_routes(boot),
        *look_routes.make_routes(boot),
        *console_routes.make_routes(boot),
        *service_routes.make_routes(boot),
        *install_routes.make_routes(boot),
        Route("GET", "/orlop/cloud", handlers.cloud),
        Route("GET", "/orlop/dmesg", handlers.dmesg),
        Route("GET", "/orlop/firewall", handlers.firewall),
        Route("GET", "/orlop/health", handlers.health),
        Route("GET", "/orlop/os", handlers.updates),
        Route("GET", "/orlop/os/{verb}", handlers.updates),
        Route("POST", "/orlop/os/{verb}", handlers.updates),
        Route("POST", "/orlop/poweroff", handlers.poweroff),
        Route("POST", "/orlop/reboot", handlers.reboot),
        Route("POST", "/orlop/halt", handlers.halt),
        Route("POST", "/orlop/reexec", handlers.reexec),
    )


class _Handlers:
    """One method per route."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot

    async def status(self, exchange: Exchange) -> None:
        found = status.machine_status(self._boot.machine, self._boot.services)
        await exchange.respond_json(200, found)

    async def boot(self, exchange: Exchange) -> None:
        await exchange.respond_json(200, {"stages": status.stages(self._boot.machine)})

    async def cloud(self, exchange: Exchange) -> None:
        found = status.data_sources(self._boot.config.current, self._boot.cloud.asked)
        await exchange.respond_json(200, found)

    async def dmesg(self, exchange: Exchange) -> None:
        await exchange.respond_json(200, {"messages": status.kernel_log()})

    async def firewall(self, exchange: Exchange) -> None:
        await exchange.respond_json(200, self._boot.firewall.report())

    async def health(self, exchange: Exchange) -> None:
        report = await self._boot.health.now.look()
        await exchange.respond_json(200, report.answer())

    async def updates(self, exchange: Exchange) -> None:
        from orlop.system.updates import routes

        await routes.answer(self._boot, exchange)

    async def poweroff(self, exchange: Exchange) -> None:
        await self._end(exchange, PowerAction.POWEROFF)

    async def reboot(self, exchange: Exchange) -> None:
        if exchange.flag("lock"):
            from orlop.system.updates import report

            self._boot.power.refuse_while_stopping()
            held = partial(report.held_in, self._boot.updates.now.directory)
            async with self._boot.health.gate.entered("reboot", held):
                await self._end(exchange, PowerAction.REBOOT)
        else:
            await self._end(exchange, PowerAction.REBOOT)

    async def halt(self, exchange: Exchange) -> None:
        await self._end(exchange, PowerAction.HALT)

    async def reexec(self, exchange: Exchange) -> None:
        self._boot.power.refuse_while_stopping()
        await self._boot.check_code()
        # The answer must be out before the program is replaced.
        await exchange.respond_empty(204)
        self._boot.reexec_soon()

    async def _end(self, exchange: Exchange, action: PowerAction) -> None:
        force = exchange.flag("force")
        await exchange.respond_json(202, {"action": action.value, "force": force})
        self._boot.power.request(action, "asked for through the API", force=force)
