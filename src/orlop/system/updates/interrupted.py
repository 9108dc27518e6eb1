"""What a boot, or a verb after one that failed, does about a change that is not at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib import boot_record
from orlop.lib.errors import OrlopError
from orlop.system.updates import (
    collect,
    decide,
    rollback,
    service_changes,
    stage,
    staging,
    trials,
)
from orlop.system.updates.journal import Status
from orlop.system.updates.ledger import RECORDS

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.system.updates.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Boot:
    """What runs: its build, what tells this boot from others, and how the one before ended."""

    build: str
    boot_id: str
    panicked: bool = False


def bring_to_end(ledger: Ledger, esp: Path) -> decide.Armed | None:
    """Bring the change that was interrupted to its end; a trial is left as it is, and returned."""
    ledger.generations.clean()
    change = ledger.journal.unfinished()
    if change is None:
        ledger.journal.forget_pending()
        return None
    if service_changes.is_one(change):
        service_changes.after_interruption(ledger, change)
        return None
    if (armed := trials.armed(ledger)) is not None:
        return armed
    match change.verb:
        case "gc":
            collect.after_interruption(ledger, esp, change)
        case "rollback":
            rollback.after_interruption(ledger, esp, change)
        case "stage":
            stage.after_interruption(ledger, esp, change)
        case "withdraw":
            number = int(str(change.data["generation"]))
            ledger.journal.redo(change.number, stage.withdrawal(ledger, esp, number))
        case _:
            # One file is written, or it is not.
            ledger.journal.end(change.number, Status.UNDONE, "interrupted")
    return None


def look(ledger: Ledger, esp: Path, boot: Boot) -> tuple[decide.Armed, decide.Action] | None:
    """What this boot means for the update that is under way, if one is; done as far as it can be.

    What is left to do is a trial to be made, a reboot, or to arm it again.
    """
    armed = bring_to_end(ledger, esp)
    if armed is None:
        return None
    cause, text = trials.read_cause(ledger, armed)
    condemned = ledger.journal.changes[armed.change].data.get("condemned")
    facts = decide.Facts(
        armed,
        _pointers(esp),
        boot.build,
        boot.boot_id,
        cause,
        boot.panicked,
        None if condemned is None else decide.Cause(str(condemned)),
    )
    action = decide.decide(facts)
    match action:
        case decide.FinishPromotion():
            trials.promote(ledger, esp, armed)
        case decide.Condemn(cause):
            trials.condemn(ledger, esp, armed, cause, text)
        case decide.Disarm(why):
            trials.abandon(ledger, esp, armed, why)
        case decide.Rearm():
            # The boot loader passes by what is damaged: that would be tried in vain, and condemned.
            image = ledger.generations.read(armed.generation).image
            if problem := staging.problem_of(esp, image):
                action = decide.Disarm(problem)
                trials.abandon(ledger, esp, armed, problem)
        case decide.AwaitReboot() | decide.BeginTrial():
            pass
    return armed, action


def is_trial(esp: Path, build: str) -> bool:
    """Whether the system with *build* is the one whose trial the boot loader has begun last.

    Told by the ESP alone, for a system that has no state to look at.
    """
    pointers = _pointers(esp)
    if pointers is None or not pointers.trial or pointers.tried != pointers.sequence:
        return False
    return staging.build_of(esp / staging.IMAGES / f"{pointers.trial}.efi") == build


def _pointers(esp: Path) -> decide.Pointers | None:
    try:
        record, tried = boot_record.read(esp / RECORDS)
    except (OrlopError, OSError):
        return None
    return decide.Pointers(record.sequence, record.default, record.trial, tried)
