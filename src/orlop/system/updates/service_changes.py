"""What is written down of a change that replaces services and not the image.

The change is `apply` or `rollback`, with a task for each service, one for the machine's health, and
one that makes it last. Until that, the file of services says what was before, so that a boot in
between starts the services of the good generation. Everything here blocks.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.system.services import overlay
from orlop.system.updates import bad, decide
from orlop.system.updates.generations import Standing
from orlop.system.updates.journal import Status
from orlop.system.updates.ledger import restore_configuration, use_services
from orlop.system.updates.trials import forget_bad

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop.system.updates.generations import Generation
    from orlop.system.updates.journal import Change
    from orlop.system.updates.ledger import Ledger
    from orlop.wire.compose_model import Json

HEALTH, LAST = "health", "keep"
SERVICE = "service "
"""The beginning of the name of a task that is about a service."""


def is_one(change: Change) -> bool:
    """Whether *change* is of this kind."""
    return "services" in change.data


def names(change: Change) -> list[str]:
    """The services that *change* replaces, in their order."""
    return [task.removeprefix(SERVICE) for task in change.tasks if task.startswith(SERVICE)]


def begin(
    ledger: Ledger,
    verb: str,
    before: Generation,
    target: Generation,
    services: Sequence[str],
    more: Mapping[str, Json],
) -> Change:
    """Write down what is going to be done.

    Raises:
        Conflict, OSError: it cannot begin; nothing has changed.
    """
    tasks = [*(f"{SERVICE}{name}" for name in services), HEALTH, LAST]
    data: dict[str, Json] = {
        **more,
        "generation": target.number,
        "before": before.number,
        "image": target.image.id,
        "system": target.system,
        "services": [*services],
    }
    return ledger.journal.begin(verb, tasks, data)


def finish(ledger: Ledger, number: int) -> None:
    """It is good: from now on boots start these services. May run twice."""
    change = ledger.journal.changes[number]
    ledger.journal.set_task(number, LAST, Status.DOING)
    target = ledger.generations.read(int(str(change.data["generation"])))
    use_services(ledger, target)
    if change.data.get("configuration") is True:
        restore_configuration(ledger, target.number)
    standing = ledger.generations.standing()
    if standing.good != target.number:
        new = Standing(target.number, standing.good, standing.staged)
        if new.staged == target.number:
            new = replace(new, staged=0)
        ledger.generations.stand(new)
    if change.verb == "rollback":
        left = ledger.generations.read(int(str(change.data["before"])))
        ledger.leave_alone(left, target)
    else:
        forget_bad(ledger, target.release.digest)
    for task, status in change.tasks.items():
        if status is not Status.DONE:
            ledger.journal.set_task(number, task, Status.DONE)
    ledger.journal.end(number, Status.DONE)


def undone(ledger: Ledger, number: int, error: str, *, is_bad: bool) -> None:
    """All services are as they were. *is_bad*: the release is to blame, and is not tried again."""
    change = ledger.journal.changes[number]
    target = ledger.generations.read(int(str(change.data["generation"])))
    standing = ledger.generations.standing()
    if is_bad and change.verb == "apply":
        one = bad.Bad(1, time.time(), target.release.sequence, decide.Cause.HEALTH.value, error)
        ledger.set_bad(bad.add(ledger.bad(), target.release.digest, one))
        if standing.staged == target.number:
            ledger.generations.stand(replace(standing, staged=0))
    for task, status in reversed([*change.tasks.items()]):
        if status not in (Status.DO, Status.UNDONE):
            ledger.journal.set_task(number, task, Status.UNDONE)
    ledger.journal.end(number, Status.UNDONE, error)


def is_kept(ledger: Ledger, change: Change) -> bool:
    """Whether boots start the new services already: then there is only a way on."""
    target = ledger.generations.read(int(str(change.data["generation"])))
    return overlay.read(ledger.services, target.image.build) == dict(target.services)


def after_interruption(ledger: Ledger, change: Change) -> None:
    """Boots start what they are told, and so the rest of it is told them."""
    if is_kept(ledger, change):
        finish(ledger, change.number)
    else:
        undone(ledger, change.number, "interrupted", is_bad=False)
