"""`orlop os gc`, `pin`, `unpin`, `hold`, `unhold`: what is kept, and that nothing is applied."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from orlop.lib.errors import NotModified
from orlop.system.updates import hold, staging, trials
from orlop.system.updates.generations import collectable
from orlop.system.updates.journal import Task
from orlop.system.updates.ledger import needed_images, sweep

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.system.updates.journal import Change
    from orlop.system.updates.ledger import Ledger
    from orlop.wire.compose_model import Json


def collect(ledger: Ledger, esp: Path) -> list[int]:
    """Forget the generations and images that nobody needs; their numbers.

    Raises:
        OSError: a disk refuses; what is not done is done by the next call.
    """
    unneeded = plan(ledger)
    if not unneeded and staging.present(esp) <= needed_images(ledger, esp):
        return []
    ledger.journal.run("gc", _tasks(ledger, esp, unneeded), {"generations": [*unneeded]})
    return unneeded


def plan(ledger: Ledger) -> list[int]:
    """What `collect` would forget."""
    generations = ledger.generations
    return collectable(generations.numbers(), generations.standing(), generations.pins())


def _tasks(ledger: Ledger, esp: Path, unneeded: list[int]) -> tuple[Task, ...]:
    def forget() -> None:
        for number in unneeded:
            ledger.generations.remove(number)

    return Task("generations", forget), Task("images", lambda: sweep(ledger, esp))


def set_pin(ledger: Ledger, number: int, *, pinned: bool) -> None:
    """Keep generation *number*, or do not.

    Raises:
        NotFound: there is none. NotModified: it is so.
    """
    ledger.generations.read(number)
    if (number in ledger.generations.pins()) is pinned:
        raise NotModified(f"generation {number} is {'pinned already' if pinned else 'not pinned'}")
    verb = "pin" if pinned else "unpin"
    task = Task(verb, lambda: ledger.generations.pin(number, pinned=pinned))
    _write(ledger, task, {"generation": number})


def set_hold(ledger: Ledger, reason: str | None, until_s: float) -> dict[str, Json]:
    """Let no update be applied until *until_s*, 0 for ever; None as the reason ends that.

    Raises:
        NotModified: nothing is held.
    """
    if reason is None and hold.read(ledger.directory) is None:
        raise NotModified("updates are not held")
    new = None if reason is None else hold.Hold(reason, time.time(), until_s)
    verb = "unhold" if new is None else "hold"
    _write(ledger, Task(verb, lambda: hold.write(ledger.directory, new)), {})
    return {"held": new is not None, "reason": reason, "until": until_s or None}


def _write(ledger: Ledger, task: Task, data: dict[str, Json]) -> None:
    """Do *task*, which writes one file that is not the trial's. The journal has one change at a
    time: while an update is tried, or is to be, this one is not in it."""
    if trials.armed(ledger) is not None:
        task.do()
    else:
        ledger.journal.run(task.name, (task,), data)


def after_interruption(ledger: Ledger, esp: Path, change: Change) -> None:
    """What was to be forgotten is forgotten."""
    unneeded = change.data.get("generations")
    numbers = [n for n in unneeded if isinstance(n, int)] if isinstance(unneeded, list) else []
    ledger.journal.redo(change.number, _tasks(ledger, esp, numbers))
