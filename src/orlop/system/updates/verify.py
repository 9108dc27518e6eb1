"""What `orlop os verify` looks at on the ESP and of the generations: every digest once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.lib import boot_record
from orlop.system.updates import extras_files, staging
from orlop.system.updates.generations import digest_of
from orlop.system.updates.ledger import RECORDS

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.system.updates.ledger import Ledger
    from orlop.system.updates.report import Now
    from orlop.wire.compose_model import Json


def row(what: str, problem: str) -> dict[str, Json]:
    """Something that was looked at, as people are told: `what`, `ok` and `problem`."""
    return {"what": what, "ok": not problem, "problem": problem or None}


def verify(ledger: Ledger, esp: Path, now: Now) -> list[dict[str, Json]]:
    """A `row` for each thing that was looked at. Blocks."""
    found: list[dict[str, Json]] = []

    def note(what: str, problem: str) -> None:
        found.append(row(what, problem))

    seen: set[str] = set()
    for generation in ledger.generations.all():
        if generation.image.id not in seen:
            seen.add(generation.image.id)
            note(f"image {generation.image.id}", staging.problem_of(esp, generation.image))
        texts = ledger.generations.texts(generation.number)
        same = digest_of(texts) == generation.configuration
        note(
            f"generation {generation.number}",
            "" if same else "its configuration is not what it was",
        )
    for identity in sorted(extras_files.present(esp)):
        path = extras_files.path_of(esp, identity)
        same = staging.digest_of(path).startswith(identity)
        note(f"extras {identity}", "" if same else f"{path.name} is damaged")
    record, _ = boot_record.read(esp / RECORDS)
    good = ledger.generations.read(ledger.generations.standing().good)
    same = record.default == good.image.id
    note("boot record", "" if same else f"names {record.default}, not {good.image.id}")
    if not now.trial:
        same = good.image.build == now.build
        note(
            "running system",
            "" if same else f"is not generation {good.number}, which the next boot starts",
        )
    return found
