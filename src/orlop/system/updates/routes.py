"""The `/orlop/os...` part of the API: docs/system-api.md describes it.

What changes something answers with a stream of JSON objects, one a line: `{"progress": {...}}`, and
at the end `{"result": {...}}` or `{"error": {"kind", "message", "hint"}}`. It is carried out to its
end even if the client goes away.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.lib.errors import Internal, InvalidArgument, NotFound, OrlopError, ResourceExhausted
from orlop.system.updates import intake, offers, report
from orlop.system.updates.generations import difference
from orlop.system.updates.journal import FULL
from orlop.system.updates.offers import Wish
from orlop.wire.docker.body import JSON_TYPE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from orlop.engine.api.exchange import Exchange
    from orlop.system.boot import Boot
    from orlop.system.updates.control import Updates
    from orlop.system.updates.gate import Gate
    from orlop.wire.compose_model import Json

    type Body = Mapping[str, object]
    type Tell = Callable[[dict[str, Json]], None]
    type Verb = Callable[[Updates, Body], Awaitable[dict[str, Json]]]

log = logging.getLogger(__name__)

MAX_REASON = 200
WAITING = 64
"""Reports of progress that a slow client may have before it; more are left out."""


async def answer(boot: Boot, exchange: Exchange) -> None:
    """Answer a request for a verb, or for where the machine stands.

    Raises:
        NotFound: there is no such verb.
    """
    verb = exchange.parameters.get("verb", "status")
    if exchange.method == "GET":
        await _show(boot.updates.now, boot.health.gate, verb, exchange)
        return
    boot.power.refuse_while_stopping()
    if verb == "stage":
        await _stage(boot, exchange)
        return
    if verb == "inhibit":
        await _inhibit(boot, exchange)
        return
    if verb == "check":
        wish = offers.parse_wish(await exchange.json())
        await _carry_out(boot, exchange, verb, lambda tell: offers.check(boot, wish, tell))
        return
    if verb == "verify":
        body = await exchange.json()
        await _carry_out(boot, exchange, verb, lambda tell: _verify(boot, tell, body))
        return
    act = _ACTS.get(verb)
    if act is None:
        raise NotFound(f"there is no verb {verb}")
    body = await exchange.json()
    await _carry_out(boot, exchange, verb, lambda _: act(boot.updates.now, body))


async def _show(updates: Updates, gate: Gate, what: str, exchange: Exchange) -> None:
    if what == "verify":
        await exchange.respond_json(200, [*await updates.verify()])
        return
    ledger, now = await updates.reading(), updates.now()
    match what:
        case "status":
            found: Json = await asyncio.to_thread(report.status, ledger, now)
        case "list":
            found = await asyncio.to_thread(report.list_generations, ledger, now)
        case "history":
            found = report.history(ledger)
        case "why":
            text = await asyncio.to_thread(report.why, ledger, now) or await gate.why()
            found = {"blocked": text or None}
        case "diff":
            old, new = [
                await asyncio.to_thread(ledger.generations.read, exchange.integer(key) or 0)
                for key in ("old", "new")
            ]
            found = difference(old, new)
        case _:
            raise NotFound(f"there is no verb {what}")
    await exchange.respond_json(200, found)


async def _verify(boot: Boot, tell: Tell, body: Body) -> dict[str, Json]:
    repair, source = body.get("repair") is True, str(body.get("source") or "")
    rows = await boot.updates.now.verify(tell, repair=repair, source=source)
    return {"rows": [*rows], "ok": all(row["ok"] for row in rows)}


async def _inhibit(boot: Boot, exchange: Exchange) -> None:
    """Until the client goes away, no update goes through the gate."""
    reason = _reason(await exchange.json())
    with boot.health.gate.inhibition(reason):
        await exchange.begin_stream(JSON_TYPE)
        await exchange.write_json({"result": {}})
        await asyncio.Event().wait()


async def _stage(boot: Boot, exchange: Exchange) -> None:
    """An image or an archive of a release is the body, which is read whole before anything is
    answered; or the body says where the release comes from."""
    if exchange.flag("archive"):
        await _stage_archive(boot, exchange)
        return
    if not exchange.flag("unsigned"):
        wish = offers.parse_wish(await exchange.json())
        await _carry_out(boot, exchange, "stage", lambda tell: offers.stage(boot, wish, tell))
        return
    boot.updates.now.state_device()
    path = await intake.receive(boot.updates.now.directory, exchange.body_parts())

    async def work(tell: Tell) -> dict[str, Json]:
        try:
            candidate = await intake.unsigned(boot.children, path)
            size = 2 * candidate.image.size_bytes

            def told(done: int) -> None:
                tell({"done": done, "of": size})

            made = await boot.updates.now.stage(candidate, path, told)
            return {"generation": made.number}
        finally:
            await asyncio.to_thread(intake.discard, path)

    await _carry_out(boot, exchange, "stage", work)


async def _stage_archive(boot: Boot, exchange: Exchange) -> None:
    boot.updates.now.state_device()
    wish = Wish(
        channel=exchange.text("channel"),
        version=exchange.text("version"),
        allow_downgrade=exchange.flag("allow_downgrade"),
    )
    path = await intake.receive(
        boot.updates.now.directory, exchange.body_parts(), intake.MAX_ARCHIVE_BYTES
    )

    async def work(tell: Tell) -> dict[str, Json]:
        try:
            return await offers.stage(boot, replace(wish, source=str(path)), tell)
        finally:
            await asyncio.to_thread(intake.discard, path)

    await _carry_out(boot, exchange, "stage", work)


async def _carry_out(
    boot: Boot, exchange: Exchange, verb: str, work: Callable[[Tell], Awaitable[dict[str, Json]]]
) -> None:
    lines: asyncio.Queue[dict[str, Json]] = asyncio.Queue()

    def tell(progress: dict[str, Json]) -> None:
        if lines.qsize() < WAITING:
            lines.put_nowait({"progress": progress})

    async def run() -> None:
        try:
            lines.put_nowait({"result": await work(tell)})
        except OrlopError as error:
            lines.put_nowait({"error": _error(error)})
        except OSError as error:
            lines.put_nowait({"error": _error(of_disk(verb, error))})
        except Exception as error:
            log.exception("orlop os %s", verb)
            lines.put_nowait({"error": _error(Internal(f"{verb}: {error!r}"))})

    boot.tasks.start(run(), f"orlop os {verb}")
    await exchange.begin_stream(JSON_TYPE)
    while True:
        line = await lines.get()
        await exchange.write_json(line)
        if "progress" not in line:
            break
    await exchange.end()


def of_disk(verb: str, error: OSError) -> OrlopError:
    """What a disk refused, for people."""
    place = f"{error.filename}: " if error.filename else ""
    text = f"{verb}: {place}{(error.strerror or str(error)).lower()}"
    if error.errno in FULL:
        return ResourceExhausted(text, hint="orlop os gc, or docker system prune")
    return Internal(text)


def _error(error: OrlopError) -> Json:
    return {"kind": type(error).__name__, "message": error.message, "hint": error.hint}


def _number(body: Body, key: str = "generation") -> int:
    value = body.get(key, 0)
    if not isinstance(value, int) or value < 0:
        raise InvalidArgument(f"{key}: a number expected")
    return value


def _reason(body: Body) -> str:
    reason = str(body.get("reason") or "")
    if len(reason) > MAX_REASON or not reason.isprintable():
        raise InvalidArgument(f"reason: up to {MAX_REASON} printable characters expected")
    return reason


async def _apply(updates: Updates, body: Body) -> dict[str, Json]:
    return await updates.apply(
        now=body.get("now") is True,
        dry_run=body.get("dry_run") is True,
        reboot=body.get("reboot") is not False,
    )


async def _roll_back(updates: Updates, body: Body) -> dict[str, Json]:
    return await updates.roll_back(
        _number(body),
        configuration=body.get("configuration") is not False,
        dry_run=body.get("dry_run") is True,
        reboot=body.get("reboot") is not False,
    )


async def _hold(updates: Updates, body: Body) -> dict[str, Json]:
    until = body.get("until", 0)
    if not isinstance(until, int | float) or until < 0:
        raise InvalidArgument("until: seconds since 1970 expected")
    if 0 < until <= time.time():
        raise InvalidArgument(f"until: {report.moment(until)} is over already")
    return await updates.hold(_reason(body), until)


async def _trust(updates: Updates, body: Body) -> dict[str, Json]:
    from orlop.system.updates.settings import trust

    return await trust(updates.directory, str(body.get("root") or "").encode())


_ACTS: Mapping[str, Verb] = {
    "apply": _apply,
    "cancel": lambda updates, _: updates.cancel(),
    "rollback": _roll_back,
    "gc": lambda updates, body: updates.collect(dry_run=body.get("dry_run") is True),
    "pin": lambda updates, body: updates.pin(_number(body), pinned=True),
    "unpin": lambda updates, body: updates.pin(_number(body), pinned=False),
    "hold": _hold,
    "trust": _trust,
    "unhold": lambda updates, _: updates.hold(None),
}
