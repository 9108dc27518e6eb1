"""Schedules of services by the machine's clock, which may be set while somebody waits.

Loaded only where a service has a schedule.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from orlop.engine.engine import State
from orlop.lib import atomic_file
from orlop.lib.errors import InvalidArgument, OrlopError
from orlop.system import time_zone
from orlop.system.services.state import in_utc
from orlop.wire.schedule import parse_schedule

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import tzinfo

    from orlop.engine.engine import ContainerInfo
    from orlop.wire.compose_model import ServiceDefinition
    from orlop.wire.schedule import Schedule

log = logging.getLogger(__name__)

MAX_LATE_S = 300.0
"""What is later than this was missed: the clock was set, or the machine slept."""

NOTES = Path("/var/lib/orlop/services/.runs.json")
"""Not a definition, as its name begins with a dot."""

AT_WORK = (State.RUNNING, State.PAUSED, State.RESTARTING)

LOOK_S = 30.0
"""How often the clock is looked at: it may be set, in either direction."""


def next_run(definition: ServiceDefinition, after_s: float, machine_zone: str) -> float | None:
    """When *definition* is to start next after a time of day; None for never.

    *machine_zone* is the name of the zone of a schedule that has none of its own.
    """
    try:
        schedule, zone = _read(definition, machine_zone)
    except InvalidArgument as error:
        log.warning("schedule of service %s: %s", definition.name, error)
        return None
    return schedule.next_after(after_s, zone)


def _read(definition: ServiceDefinition, machine_zone: str) -> tuple[Schedule, tzinfo]:
    schedule = parse_schedule(definition.schedule)
    name = schedule.zone or machine_zone or time_zone.DEFAULT
    return schedule, time_zone.clock(time_zone.DEFAULT if name == "UTC" else name)


def why_never(definition: ServiceDefinition, machine_zone: str = "") -> str:
    """Why the schedule of *definition* cannot be followed; empty if it can, or there is none."""
    try:
        if definition.schedule:
            _read(definition, machine_zone)
    except InvalidArgument as error:
        return f"its schedule cannot be followed: {error.message}"
    return ""


class Scheduled(Protocol):
    """A service with a schedule; *next_s* is kept for those who ask."""

    definition: ServiceDefinition
    next_s: float


async def follow[S: Scheduled](
    service: S,
    machine_zone: str,
    look: Callable[[str], ContainerInfo | None],
    start: Callable[[S], Awaitable[None]],
) -> None:
    """Have *service* started at its times, never twice at once; ends when there is no further time.

    What is left out, because it still runs or it is too late for it, is said in the log.
    """
    definition, due_s = service.definition, time.time()
    name = definition.name
    _say_what_was_missed(definition, machine_zone)
    while (following_s := next_run(definition, max(due_s, time.time()), machine_zone)) is not None:
        due_s = service.next_s = following_s
        late_s = await wait_until(due_s)
        info = look(name)
        if late_s < 0:
            due_s = time.time()  # the clock was put back
        elif late_s > MAX_LATE_S:
            log.warning("service %s missed its run of %s", name, in_utc(due_s))
        elif info is not None and info.state in AT_WORK:
            log.warning("service %s still runs: its run of %s is left out", name, in_utc(due_s))
        else:
            try:
                await start(service)
                await asyncio.to_thread(_note, name, due_s)
            except (OrlopError, OSError) as error:
                log.warning("cannot start service %s: %s", name, error)


def _say_what_was_missed(definition: ServiceDefinition, machine_zone: str) -> None:
    """Of times in a calendar, while the machine was off."""
    last_s = _notes().get(definition.name)
    if not isinstance(last_s, int | float) or "@every" in definition.schedule:
        return
    missed_s = next_run(definition, last_s, machine_zone)
    if missed_s is not None and missed_s < time.time() - MAX_LATE_S:
        when = in_utc(missed_s)
        log.warning("service %s missed its run of %s: the machine was off", definition.name, when)


def _notes() -> dict[str, object]:
    """When which service was last started by its schedule."""
    try:
        found = json.loads(NOTES.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _note(name: str, due_s: float) -> None:
    atomic_file.write_text(NOTES, json.dumps({**_notes(), name: due_s}), mode=0o600, durable=False)


async def wait_until(due_s: float) -> float:
    """Wait until the clock says *due_s*; how much later it is by then, or -1: it was put back."""
    seen_s = time.time()
    while (left_s := due_s - time.time()) > 0:
        if time.time() < seen_s - LOOK_S:
            return -1.0
        seen_s = time.time()
        await asyncio.sleep(min(left_s, LOOK_S))
    return -left_s
