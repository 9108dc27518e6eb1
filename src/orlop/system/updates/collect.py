"""`orlop os gc`, `pin` and `unpin`: which generations are kept, and the end of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.lib.errors import NotModified
from orlop.system.updates import staging
from orlop.system.updates.generations import collectable
from orlop.system.updates.journal import Task
from orlop.system.updates.ledger import needed_images, sweep

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.system.updates.journal import Change
    from orlop.system.updates.ledger import Ledger


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
        raise NotModified(f"generation {number} is {'' if pinned else 'not '}pinned already")
    verb = "pin" if pinned else "unpin"
    task = Task(verb, lambda: ledger.generations.pin(number, pinned=pinned))
    ledger.journal.run(verb, (task,), {"generation": number})


def after_interruption(ledger: Ledger, esp: Path, change: Change) -> None:
    """What was to be forgotten is forgotten."""
    unneeded = change.data.get("generations")
    numbers = [n for n in unneeded if isinstance(n, int)] if isinstance(unneeded, list) else []
    ledger.journal.redo(change.number, _tasks(ledger, esp, numbers))
