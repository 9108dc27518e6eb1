"""`GET /events`: which events a client asked for, and how they are written.

Filters match as dockerd's do, which is not always what their name says: `container=web` is a
prefix of the id or name of any actor. Source: moby v28 daemon/events/filter.go.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from orlop.engine.api import filters as filtering
from orlop.engine.api.times import parse_time
from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orlop.engine.api.exchange import Exchange
    from orlop.engine.api.filters import Filters
    from orlop.engine.engine import Engine
    from orlop.engine.events import Event

ACTORS = (
    *("daemon", "container", "plugin", "volume", "network"),
    *("node", "service", "secret", "config"),
)
"""Filters by the name or id of the actor, whatever its type."""

_PREFIXED = frozenset({"health_status", "exec_create", "exec_start"})
"""Actions that go on with a colon and details: naming one turns exact matching off."""


async def respond(engine: Engine, exchange: Exchange) -> None:
    """Answer with what is remembered since a time, then with what happens until another."""
    filters = filtering.parse_filters(exchange.text("filters"))
    since_ns, until_ns = parse_time(exchange.text("since")), parse_time(exchange.text("until"))
    if until_ns and until_ns < since_ns:
        raise InvalidArgument(
            f"`since` time ({exchange.text('since')}) cannot be after "
            f"`until` time ({exchange.text('until')})"
        )
    # Clients from before 1.46 do not expect events of this kind.
    creates_images = exchange.api_version >= (1, 46)

    def wanted(event: Event) -> bool:
        shown = creates_images or event.type != "image" or event.action != "create"
        return shown and matches(event, filters)

    with engine.events.subscribe() as subscription:
        # Nothing is awaited in between: no event is lost or shown twice.
        remembered = list(engine.events.history(since_ns)) if since_ns or until_ns else []
        await exchange.begin_stream("application/json")
        for event in remembered:
            if (not until_ns or event.time_ns <= until_ns) and wanted(event):
                await exchange.write_json(render(event))
        try:
            async with asyncio.timeout(_remaining_s(until_ns)):
                async for event in subscription:
                    if wanted(event):
                        await exchange.write_json(render(event))
        except TimeoutError:
            await exchange.end()


def _remaining_s(until_ns: int) -> float | None:
    return max((until_ns - time.time_ns()) / 1e9, 0.0) if until_ns else None


def matches(event: Event, filters: Filters) -> bool:
    """Whether *event* passes every filter."""
    if not filters:
        return True
    name = event.attributes.get("name", "")
    return (
        _matches_action(event.action, filters)
        and _exactly(filters, "type", (event.type,))
        and _exactly(filters, "scope", ("local",))
        and all(_begins(filters, actor, (event.id, name)) for actor in ACTORS)
        and _matches_image(event, name, filters)
        and filtering.match_labels(filters.get("label", ()), event.attributes)
    )


def _matches_action(action: str, filters: Filters) -> bool:
    if _PREFIXED & filters.get("event", frozenset()):
        return _begins(filters, "event", (action,))
    return _exactly(filters, "event", (action,))


def _matches_image(event: Event, name: str, filters: Filters) -> bool:
    """Images by id or name, containers by what they were made from; tags may be left out."""
    if "image" not in filters:
        return True
    reference = name if event.type == "image" else event.attributes.get("image", "")
    values = (event.id, reference, without_tag(event.id), without_tag(reference))
    return _exactly(filters, "image", values)


def without_tag(reference: str) -> str:
    """The familiar name of an image: `docker.io/library/a/b:1@sha256:…` is `a/b`."""
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    name = f"{head}{slash}{last.partition(':')[0]}"
    return name.removeprefix("docker.io/").removeprefix("library/")


def _exactly(filters: Filters, key: str, values: Iterable[str]) -> bool:
    wanted = filters.get(key)
    return not wanted or any(value in wanted for value in values)


def _begins(filters: Filters, key: str, values: tuple[str, ...]) -> bool:
    wanted = filters.get(key)
    return not wanted or any(value.startswith(prefix) for value in values for prefix in wanted)


def render(event: Event) -> dict[str, Any]:
    """A line of the answer; containers and images have the fields of old clients too."""
    result: dict[str, Any] = {}
    if event.type in ("container", "image"):
        result = {"status": event.action, "id": event.id}
        if event.type == "container" and (image := event.attributes.get("image")):
            result["from"] = image
    return result | {
        "Type": event.type,
        "Action": event.action,
        "Actor": {"ID": event.id, "Attributes": dict(event.attributes)},
        "scope": "local",
        "time": event.time_ns // 1_000_000_000,
        "timeNano": event.time_ns,
    }
