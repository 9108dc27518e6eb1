"""The `/orlop/install...` part of the API: docs/system-api.md describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.engine.api.router import Route
from orlop.lib.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.engine.api.exchange import Exchange
    from orlop.system.boot import Boot
    from orlop.system.install.install import Job


def make_routes(boot: Boot) -> Sequence[Route]:
    """The routes for the machine that *boot* runs."""
    handlers = _Handlers(boot)
    return (
        Route("GET", "/orlop/install", handlers.look),
        Route("POST", "/orlop/install", handlers.install),
        Route("GET", "/orlop/install/progress", handlers.progress),
        Route("POST", "/orlop/disks/mirror", handlers.mirror),
    )


class _Handlers:
    """One method per route."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot

    async def look(self, exchange: Exchange) -> None:
        job = self._boot.config.actions.installer.job
        found = {
            "disks": await self._boot.config.actions.installer.disks(),
            "is_running": job is not None and not job.ended,
        }
        await exchange.respond_json(200, found)

    async def install(self, exchange: Exchange) -> None:
        from orlop.system.install.install import parse_request

        request = parse_request(await exchange.json())
        await _follow(await self._boot.config.actions.installer.begin(request), exchange)

    async def mirror(self, exchange: Exchange) -> None:
        body = await exchange.json()
        disk, wipe = body.get("disk"), body.get("wipe", False)
        if not isinstance(disk, str) or not disk or not isinstance(wipe, bool):
            raise InvalidArgument("disk, wipe: the id of a disk, and true or false, expected")
        await _follow(self._boot.config.actions.installer.add_half(disk, wipe=wipe), exchange)

    async def progress(self, exchange: Exchange) -> None:
        job = self._boot.config.actions.installer.job
        if job is None:
            raise NotFound("nothing has been installed since this machine was started")
        await _follow(job, exchange)


async def _follow(job: Job, exchange: Exchange) -> None:
    """One object a line, until the end; the installation does not mind if the client goes away."""
    await exchange.begin_stream("application/json")
    async for event in job.follow():
        await exchange.write_json(event)
    await exchange.end()
