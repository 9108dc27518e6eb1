"""Changing a container's limits, and removing those that are not used."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

from orlop.engine.api import container_list
from orlop.engine.api import filters as filtering
from orlop.engine.api.create_warnings import limit_warnings
from orlop.engine.api.request_resources import parse_resources, parse_restart
from orlop.engine.api.times import parse_time
from orlop.engine.container.state import State
from orlop.lib.errors import Conflict, InvalidArgument, NotFound, OrlopError
from orlop.wire.docker.fields import Object

if TYPE_CHECKING:
    from orlop.engine.api.exchange import Exchange
    from orlop.engine.container.config import Resources
    from orlop.engine.engine import Engine

_UNUSED = (State.CREATED, State.EXITED, State.DEAD)


async def update(engine: Engine, exchange: Exchange) -> None:
    """`POST /containers/ID/update`."""
    body = Object(await exchange.json())
    container = engine.find(exchange.parameters["id"])
    policy = None
    if body.section("RestartPolicy").text("Name"):
        policy = parse_restart(body.section("RestartPolicy"))
    known = container.config.resources
    resources = merge(known, parse_resources(body, update=True))
    await container.update(policy, None if resources == known else resources)
    warnings = limit_warnings(parse_resources(body, update=True), engine.host.controllers)
    await exchange.respond_json(200, {"Warnings": warnings or None})


def merge(old: Resources, new: Resources) -> Resources:
    """*old* with every field of *new* that is set.

    Raises:
        InvalidArgument: together they make no sense, in dockerd's words.
    """
    values = {field.name: getattr(new, field.name) for field in dataclasses.fields(new)}
    kept = {name: value for name, value in values.items() if value not in (None, "", ())}
    if new.cpus is not None and (old.cpu_quota_usec or old.cpu_period_usec):
        raise InvalidArgument(
            "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set"
        )
    if old.cpus is not None and (new.cpu_quota_usec or new.cpu_period_usec):
        raise InvalidArgument(
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set"
        )
    merged = dataclasses.replace(old, **kept)
    memory, swap = merged.memory_bytes, merged.memory_swap_bytes
    if swap is not None and swap > 0:
        if memory is None:
            raise InvalidArgument(
                "You should always set the Memory limit when using Memoryswap limit, see usage"
            )
        if memory > swap:
            raise InvalidArgument(
                "Memory limit should be smaller than already set memoryswap limit, "
                "update the memoryswap at the same time"
            )
    return merged


async def prune(engine: Engine, exchange: Exchange) -> None:
    """`POST /containers/prune`."""
    filters = filtering.parse_filters(exchange.text("filters"), {"label", "until", "label!"})
    until_ns = min((parse_time(text) for text in filters.get("until", ())), default=0)
    deleted, reclaimed_bytes = [], 0
    for container in engine.all():
        labels = dict(container.config.labels)
        if container.record.state not in _UNUSED:
            continue
        if until_ns and container.record.created_ns > until_ns:
            continue
        if not filtering.match_labels(filters.get("label", ()), labels):
            continue
        if any(filtering.match_labels((item,), labels) for item in filters.get("label!", ())):
            continue
        size_bytes = (await container_list.sizes(container))["SizeRw"]
        try:
            await engine.remove_container(container.record.id)
        except (Conflict, NotFound):
            # Started or removed by somebody else in the meantime.
            continue
        except OrlopError as error:
            engine.host.warn(f"prune: {error}, ignoring")
            continue
        deleted.append(container.record.id)
        reclaimed_bytes += size_bytes
        await asyncio.sleep(0)
    engine.events.publish("container", "prune", "", {"reclaimed": str(reclaimed_bytes)})
    await exchange.respond_json(
        200, {"ContainersDeleted": deleted or None, "SpaceReclaimed": reclaimed_bytes}
    )
