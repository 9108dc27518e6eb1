"""The trial of a generation: one boot which ends by its being promoted, or by the old one's return.

What a boot has to do about it is decided in `decide`; here it is done. The boot record is written
twice for an update: to arm, and to promote or to withdraw.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.lib import atomic_file, boot_record
from orlop.lib.errors import NotModified, OrlopError
from orlop.system.updates import bad, decide, staging
from orlop.system.updates.generations import Standing
from orlop.system.updates.journal import Status
from orlop.system.updates.ledger import RECORDS, restore_configuration, use_services

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orlop.system.updates.journal import Change
    from orlop.system.updates.ledger import Ledger
    from orlop.wire.compose_model import Json

TASKS = ("arm", "trial", "promote")


def armed(ledger: Ledger) -> decide.Armed | None:
    """The trial that is under way, if there is one."""
    change = ledger.journal.unfinished()
    if change is None or change.verb != "apply" or "sequence" not in change.data:
        return None
    return _armed(change)


def arm(
    ledger: Ledger, esp: Path, number: int, boot_id: str, more: Mapping[str, Json]
) -> decide.Armed:
    """Give generation *number* the next boot, as a trial.

    The change goes on over that boot, and keeps *more*.

    Raises:
        NotModified: its image runs already. OrlopError, OSError: nothing has changed, or
            `armed` says that it has.
    """
    generation = ledger.generations.read(number)
    if generation.image == ledger.generations.read(ledger.generations.standing().good).image:
        # Nobody could tell the trial from the system that it would come back to.
        raise NotModified(f"the image of generation {number} is the one that runs")
    staging.verify(staging.path_of(esp, generation.image.id), generation.image)
    data: dict[str, Json] = {
        **more,
        "generation": number,
        "image": generation.image.id,
        "system": generation.system,
        "build": generation.image.build,
        "attempt": 1,
        "boot_id": boot_id,
    }
    journal, change = ledger.journal, ledger.journal.begin("apply", TASKS, data)
    try:
        journal.set_task(change.number, "arm", Status.DOING)
        use_services(ledger, generation)
        _point_at_trial(ledger, esp, change.number, generation.image.id)
        journal.set_task(change.number, "arm", Status.DONE)
        journal.set_task(change.number, "trial", Status.DOING)
    except (OrlopError, OSError) as error:
        # If not even that can be taken back the change stays: a boot that is a trial has to know.
        with contextlib.suppress(OrlopError, OSError):
            _clear_trial(esp)
            journal.set_task(change.number, "arm", Status.UNDONE)
            journal.end(change.number, Status.UNDONE, str(error))
        raise
    return _armed(journal.changes[change.number])


def _point_at_trial(ledger: Ledger, esp: Path, number: int, image: str) -> None:
    """The sequence number is written down first: what the record says is told by it."""
    record, _ = boot_record.read(esp / RECORDS)
    new = replace(record, sequence=record.sequence + 1, trial=image)
    ledger.journal.note(number, {"sequence": new.sequence})
    boot_record.write(esp / RECORDS, new)


def _clear_trial(esp: Path) -> None:
    record, _ = boot_record.read(esp / RECORDS)
    if record.trial:
        new = replace(record, sequence=record.sequence + 1, trial="")
        boot_record.write(esp / RECORDS, new)


def rearm(ledger: Ledger, esp: Path, armed: decide.Armed, boot_id: str) -> decide.Armed:
    """Once more: what ended the trial was not the image."""
    ledger.journal.note(armed.change, {"attempt": armed.attempt + 1, "boot_id": boot_id})
    forget_cause(ledger)
    _point_at_trial(ledger, esp, armed.change, armed.image)
    return _armed(ledger.journal.changes[armed.change])


def promote(ledger: Ledger, esp: Path, armed: decide.Armed) -> None:
    """The trial was good: from now on it is what the machine boots. May run twice."""
    record, _ = boot_record.read(esp / RECORDS)
    ledger.journal.set_task(armed.change, "promote", Status.DOING)
    if record.default != armed.image:
        new = replace(
            record,
            sequence=record.sequence + 1,
            default=armed.image,
            previous=record.default,
            trial="",
        )
        boot_record.write(esp / RECORDS, new)
    standing = ledger.generations.standing()
    if standing.good != armed.generation:
        ledger.generations.stand(Standing(good=armed.generation, previous=standing.good))
    forget_bad(ledger, ledger.generations.read(armed.generation).image.sha256)
    forget_cause(ledger)
    for task in ("trial", "promote"):
        ledger.journal.set_task(armed.change, task, Status.DONE)
    ledger.journal.end(armed.change, Status.DONE)


def forget_bad(ledger: Ledger, digest: str) -> None:
    """What has *digest* was good after all."""
    known = ledger.bad()
    if known.pop(digest, None) is not None:
        ledger.set_bad(known)


def condemn(ledger: Ledger, esp: Path, armed: decide.Armed, cause: decide.Cause, text: str) -> None:
    """The trial was bad: remember that, and that the old system stays. May run twice."""
    generation = ledger.generations.read(armed.generation)
    digest, known = generation.image.sha256, ledger.bad()
    if "condemned" not in ledger.journal.changes[armed.change].data:
        one = bad.Bad(1, time.time(), generation.release.sequence, cause.value, text)
        ledger.set_bad(bad.add(known, digest, one))
        ledger.journal.note(armed.change, {"condemned": cause.value})
    abandon(ledger, esp, armed, f"{cause.value}: {text}" if text else cause.value, keep=False)


def abandon(ledger: Ledger, esp: Path, armed: decide.Armed, why: str, *, keep: bool = True) -> None:
    """End the change without the new generation, which stays staged if it is to be *keep*-t.

    Only what was tried may have changed the configuration, which is as before then.
    """
    _clear_trial(esp)
    standing = ledger.generations.standing()
    if not keep:
        if standing.staged == armed.generation:
            ledger.generations.stand(replace(standing, staged=0))
        restore_configuration(ledger, standing.good)
    forget_cause(ledger)
    for task in TASKS[:2]:
        ledger.journal.set_task(armed.change, task, Status.UNDONE)
    ledger.journal.end(armed.change, Status.UNDONE, why)


def write_cause(ledger: Ledger, armed: decide.Armed, cause: decide.Cause, text: str) -> None:
    """In the trial: why it ends. Before it does."""
    path = ledger.directory / "trial.json"
    value = {"sequence": armed.sequence, "cause": cause.value, "text": text}
    atomic_file.write_text(path, json.dumps(value), mode=0o600)


def read_cause(ledger: Ledger, armed: decide.Armed) -> tuple[decide.Cause | None, str]:
    """What the trial has written down; nothing if that was another one."""
    try:
        value = json.loads((ledger.directory / "trial.json").read_bytes())
        if value["sequence"] == armed.sequence:
            return decide.Cause(value["cause"]), str(value["text"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None, ""


def forget_cause(ledger: Ledger) -> None:
    (ledger.directory / "trial.json").unlink(missing_ok=True)


def _armed(change: Change) -> decide.Armed:
    data = change.data
    return decide.Armed(
        change.number,
        int(str(data["generation"])),
        int(str(data["sequence"])),
        str(data["image"]),
        str(data["build"]),
        int(str(data["attempt"])),
        str(data["boot_id"]),
    )
