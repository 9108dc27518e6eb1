"""The `/orlop/config...` part of the API: docs/system-api.md describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.engine.api.router import Route
from orlop.lib.errors import InvalidArgument
from orlop.lib.units import parse_duration_s
from orlop.system import status
from orlop.system.boot_channel import uptime_s
from orlop.system.config.control import MAX_TRIAL_S, Manner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop.engine.api.exchange import Exchange
    from orlop.system.boot import Boot
    from orlop.wire.compose_model import Json

FIELDS = ("verb", "key", "text", "name")


def make_routes(boot: Boot) -> Sequence[Route]:
    """The routes for the machine that *boot* runs."""
    handlers = _Handlers(boot)
    return (
        Route("GET", "/orlop/config", handlers.show),
        Route("POST", "/orlop/config/reload", handlers.reload),
        Route("POST", "/orlop/config/change", handlers.change),
        Route("POST", "/orlop/config/confirm", handlers.confirm),
        Route("POST", "/orlop/config/rollback", handlers.rollback),
        Route("GET", "/orlop/config/versions", handlers.versions),
        Route("GET", "/orlop/config/versions/{name}", handlers.version),
    )


class _Handlers:
    """One method per route."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot

    async def show(self, exchange: Exchange) -> None:
        secrets = exchange.text("secrets", "hide")
        if secrets not in ("hide", "show", "omit"):
            raise InvalidArgument(f"secrets: hide, show or omit, not {secrets[:20]!r}")
        found = status.shown_configuration(self._boot.config.current, secrets)
        await exchange.respond_json(200, found)

    async def reload(self, exchange: Exchange) -> None:
        self._boot.power.refuse_while_stopping()
        changed = await self._boot.config.reload()
        problems = list(self._boot.config.current.problems)
        await exchange.respond_json(200, {"changed": [*changed], "problems": [*problems]})

    async def change(self, exchange: Exchange) -> None:
        body = await exchange.json()
        operation = {field: str(body[field]) for field in FIELDS if field in body}
        if operation.get("verb") in ("validate", "migrate"):
            await exchange.respond_json(200, await self._boot.config.examine(operation))
            return
        self._boot.power.refuse_while_stopping()
        found = await self._boot.config.change(operation, _manner(body))
        await exchange.respond_json(200, self._with_storage(found))

    async def confirm(self, exchange: Exchange) -> None:
        await exchange.respond_json(200, {"version": await self._boot.config.confirm()})

    async def rollback(self, exchange: Exchange) -> None:
        self._boot.power.refuse_while_stopping()
        body = await exchange.json()
        number = body.get("version") or 0
        if not isinstance(number, int):
            raise InvalidArgument("version: a number expected")
        found = await self._boot.config.rollback(number, _manner(body))
        await exchange.respond_json(200, self._with_storage(found))

    async def versions(self, exchange: Exchange) -> None:
        store = self._boot.config.store
        trial = store.trial()
        await exchange.respond_json(
            200,
            {
                "current": store.current() or None,
                "versions": [
                    {"version": version.number, "created_at": version.created_s}
                    for version in store.versions()
                ],
                "trial": trial
                and {
                    "back_to": trial.back_to,
                    "remaining_s": max(0.0, trial.deadline_s - uptime_s()),
                },
            },
        )

    async def version(self, exchange: Exchange) -> None:
        store = self._boot.config.store
        name = exchange.parameters["name"]
        number = store.current() if name == "current" else int(name) if name.isdecimal() else -1
        if name == "current" and not number:
            text = ""
        else:
            text = store.read(number).public
        await exchange.respond_json(200, {"version": number or None, "text": text})

    def _with_storage(self, found: Mapping[str, Json]) -> dict[str, Json]:
        """Whether what was changed survives the next boot belongs to the report."""
        state = self._boot.machine.state
        return {**found, "is_volatile": state is None or state.mode != "disk"}


def _manner(body: Mapping[str, object]) -> Manner:
    """How a change is to be made: `dry_run`, and `confirm` as a duration."""
    confirm = body.get("confirm")
    confirm_s = parse_duration_s(str(confirm)) if confirm else 0.0
    if confirm and not 1 <= confirm_s <= MAX_TRIAL_S:
        raise InvalidArgument("confirm: must be from 1s to 24h")
    return Manner(body.get("dry_run") is True, confirm_s)
