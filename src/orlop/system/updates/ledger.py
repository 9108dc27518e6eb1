"""What is known on the state partition about the machine as a whole, and its first generations.

Everything here and in the modules of the verbs (`stage`, `trials`, `rollback`, `collect`) blocks,
knows neither the event loop nor the machine, and can be interrupted at any instruction: what is
left `interrupted` brings to an end. Two files in two places say what counts: the boot record on the
ESP which image, `standing.json` which generation. The record is always written first, and decides.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.lib import boot_record
from orlop.lib.errors import NotFound
from orlop.system.services import overlay
from orlop.system.updates import bad as bad_images
from orlop.system.updates import extras_files, staging
from orlop.system.updates.generations import (
    Generation,
    Generations,
    Image,
    Release,
    Standing,
    digest_of,
)
from orlop.system.updates.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orlop.system.config.store import ConfigStore, Texts

RECORDS = "orlop"
"""The directory of the boot records on the ESP."""


class Ledger:
    """What is known below *directory*, and the machine's own document."""

    def __init__(self, directory: Path, config: ConfigStore) -> None:
        self.directory = directory
        self.journal = Journal(directory)
        self.generations = Generations(directory)
        self.config = config
        self.services = directory / overlay.FILE.name

    def texts(self) -> Texts:
        """The configuration in force."""
        return self.config.in_force()

    def bad(self) -> dict[str, bad_images.Bad]:
        return bad_images.read(self.directory / "bad.json")

    def set_bad(self, known: Mapping[str, bad_images.Bad]) -> None:
        bad_images.write(self.directory / "bad.json", known)

    def leave_alone(self, left: Generation, target: Generation) -> None:
        """A person goes back from *left* to *target*: what a channel still has of *left* is not
        taken again by itself. May run twice."""
        known = self.bad()
        known.pop(target.release.digest, None)
        known.pop(target.image.sha256, None)
        if left.release.sequence > target.release.sequence:
            key = left.release.digest if left.image == target.image else left.image.sha256
            known[key] = bad_images.Bad(1, time.time(), left.release.sequence, bad_images.LEFT)
        if known != self.bad():
            self.set_bad(known)


def adopt(ledger: Ledger, esp: Path, build: str) -> None:
    """Let what the boot record names by default be the first generation, if there is none.

    It need not be what runs, with *build*: that may come from a medium.

    Raises:
        OrlopError: there is no boot record, or its image is not there.
    """
    if ledger.generations.standing().good:
        return
    record, _ = boot_record.read(esp / RECORDS)
    path = esp / staging.IMAGES / f"{record.default}.efi"
    try:
        size = path.stat().st_size
        image = Image(staging.digest_of(path), size, staging.build_of(path) or build)
    except FileNotFoundError:
        raise NotFound(f"the image {record.default} is not on the EFI system partition") from None
    texts = ledger.texts()
    number = ledger.generations.next_number()
    services = overlay.read(ledger.services, build)
    first = Generation(number, time.time(), Release(), image, services, digest_of(texts))
    ledger.generations.add(first, texts)
    ledger.generations.stand(Standing(good=number))


def capture(ledger: Ledger) -> Generation:
    """The generation that runs; a new one if the configuration has changed since it was made."""
    standing = ledger.generations.standing()
    good = ledger.generations.read(standing.good)
    texts = ledger.texts()
    if good.configuration == digest_of(texts):
        return good
    number = ledger.generations.next_number()
    new = replace(good, number=number, created_s=time.time(), configuration=digest_of(texts))
    ledger.generations.add(new, texts)
    ledger.generations.stand(replace(standing, good=number))
    return new


def restore_configuration(ledger: Ledger, number: int) -> bool:
    """Put the configuration of generation *number* in force; whether that was another one.

    The next reading of the configuration has it.
    """
    texts = ledger.generations.texts(number)
    if digest_of(texts) == digest_of(ledger.texts()):
        return False
    ledger.config.adopt(ledger.texts())
    ledger.config.switch(ledger.config.add(texts))
    ledger.config.end_trial()
    return True


def use_services(ledger: Ledger, generation: Generation) -> None:
    """Let the boot of the image of *generation* start the services of *generation*."""
    builds = [other.image.build for other in ledger.generations.all()]
    overlay.write(ledger.services, generation.image.build, generation.services, builds)


def needed_images(ledger: Ledger, esp: Path) -> set[str]:
    """The images that a generation or the boot record names."""
    record, _ = boot_record.read(esp / RECORDS)
    named = {record.default, record.previous, record.trial, record.recovery}
    return (named | {g.image.id for g in ledger.generations.all()}) - {""}


def sweep(ledger: Ledger, esp: Path) -> None:
    """Remove the images that nobody needs, and their extras; may run twice."""
    needed = needed_images(ledger, esp)
    staging.remove_all_but(esp, needed)
    extras_files.remove_all_but(esp, needed)
