"""`orlop os rollback`: the next boot starts a generation that has been good before."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.lib import boot_record
from orlop.lib.errors import Conflict, NotModified
from orlop.system.updates import staging
from orlop.system.updates.journal import Status, Task
from orlop.system.updates.ledger import (
    RECORDS,
    capture,
    restore_configuration,
    use_services,
)

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.system.updates.generations import Generation
    from orlop.system.updates.journal import Change
    from orlop.system.updates.ledger import Ledger
    from orlop.wire.compose_model import Json


def roll_back(ledger: Ledger, esp: Path, number: int, *, configuration: bool = True) -> Generation:
    """Let generation *number*, which was good, be what the next boot starts.

    Raises:
        NotModified: it runs. Conflict: it was never good. OrlopError, OSError: nothing has changed.
    """
    now, target = check_target(ledger, number)
    staging.verify(staging.path_of(esp, target.image.id), target.image)
    data: dict[str, Json] = {
        "generation": number,
        "before": now.number,
        "configuration": configuration,
    }
    tasks = _tasks(ledger, esp, target, now, configuration=configuration)
    ledger.journal.run("rollback", tasks, data)
    return target


def check_target(ledger: Ledger, number: int) -> tuple[Generation, Generation]:
    """What runs, and generation *number*, which may be gone back to.

    Raises:
        NotModified, Conflict, OSError: as `roll_back`.
    """
    ledger.journal.refuse_busy()  # in a trial "what runs" would be no answer
    now = capture(ledger)
    target = ledger.generations.read(number)
    if target.number == now.number or (target.same_as(now)):
        raise NotModified(f"generation {number} is what runs")
    if not was_good(ledger, number):
        is_staged = number == ledger.generations.standing().staged
        raise Conflict(
            f"generation {number} was never good",
            hint="orlop os apply tries it" if is_staged else None,
        )
    return now, target


def _tasks(
    ledger: Ledger, esp: Path, target: Generation, before: Generation, *, configuration: bool
) -> tuple[Task, ...]:
    def restore(generation: Generation) -> None:
        if configuration:
            restore_configuration(ledger, generation.number)

    def stand(good: Generation, previous: Generation) -> None:
        old = ledger.generations.standing()
        ledger.generations.stand(replace(old, good=good.number, previous=previous.number))

    return (
        # Of the other image: what runs is not touched by it.
        Task(
            "services",
            lambda: use_services(ledger, target),
            lambda: use_services(ledger, before),
        ),
        Task(
            "point",
            lambda: _point_at(esp, target.image.id),
            lambda: _point_at(esp, before.image.id),
        ),
        Task("configuration", lambda: restore(target), lambda: restore(before)),
        Task("stand", lambda: stand(target, before), lambda: stand(before, target)),
        Task("leave alone", lambda: ledger.leave_alone(before, target)),
    )


def _point_at(esp: Path, image: str) -> None:
    record, _ = boot_record.read(esp / RECORDS)
    if record.default == image and not record.trial:
        return
    previous = record.previous if record.default == image else record.default
    new = replace(record, sequence=record.sequence + 1, default=image, previous=previous, trial="")
    boot_record.write(esp / RECORDS, new)


def was_good(ledger: Ledger, number: int) -> bool:
    """Whether generation *number* has come through a trial, or is one that was found running."""
    system = ledger.generations.read(number).system
    proven = {
        change.data.get("system", change.data.get("image"))
        for change in ledger.journal.changes.values()
        if change.verb == "apply" and change.status is Status.DONE
    }
    standing = ledger.generations.standing()
    first = {
        ledger.generations.read(n).system
        for n in {standing.good, standing.previous, *ledger.generations.numbers()[:1]} - {0}
    }
    return system in proven | first


def after_interruption(ledger: Ledger, esp: Path, change: Change) -> None:
    """Once the boot record says so the way is on, before that it is back."""
    number, before = (int(str(change.data[key])) for key in ("generation", "before"))
    target, old = ledger.generations.read(number), ledger.generations.read(before)
    configuration = change.data.get("configuration") is not False
    tasks = _tasks(ledger, esp, target, old, configuration=configuration)
    record, _ = boot_record.read(esp / RECORDS)
    on_the_way_back = {Status.UNDOING, Status.UNDONE} & {*change.tasks.values()}
    if on_the_way_back or record.default != target.image.id:
        ledger.journal.take_back(change.number, tasks, "interrupted")
    else:
        ledger.journal.redo(change.number, tasks)
