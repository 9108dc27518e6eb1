"""`orlop os stage`: a release's image on the ESP, and the generation that is to be tried next."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument, NotModified
from orlop.system.services.overlay import ServiceVersion
from orlop.system.updates import bad, extras_files, staging
from orlop.system.updates.generations import Generation, Image, Release
from orlop.system.updates.journal import Status, Task
from orlop.system.updates.ledger import capture, sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from orlop.system.updates.journal import Change
    from orlop.system.updates.ledger import Ledger
    from orlop.wire.release import Blob


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is to be staged. *beside* has the image's other files, by name; *extras* lie where the
    image does, called by their digest."""

    release: Release
    image: Image
    beside: Mapping[str, bytes]
    services: Mapping[str, ServiceVersion]
    tainted: bool = False
    extras: Blob | None = None


def stage(
    ledger: Ledger,
    esp: Path,
    candidate: Candidate,
    source: Path,
    report: Callable[[int], None],
    extras_in_use: str = "",
) -> Generation:
    """Put *source* on the ESP and make a generation of it, the next one to be applied. What is
    staged already is staged anew if it is damaged.

    *extras_in_use*: as `extras_files.require`.

    Raises:
        NotModified: it runs already, or is staged.
        InvalidArgument: it cannot be told from what runs.
        OrlopError, OSError: nothing has changed.
    """
    good = capture(ledger)
    same_image = candidate.image == good.image
    services = _with_epochs(candidate, good)
    _refuse_same(candidate, services, good)
    standing = ledger.generations.standing()
    number = ledger.generations.next_number()
    new = Generation(
        number,
        time.time(),
        candidate.release,
        candidate.image,
        services,
        good.configuration,
        candidate.tainted,
    )
    extras = candidate.extras
    for other in filter(None, (standing.good, standing.staged)):
        if new.same_as(ledger.generations.read(other)):
            if other == standing.staged and not (same_image or is_whole(esp, candidate)):
                continue
            state = "runs already" if other == standing.good else "is staged already"
            raise NotModified(f"generation {other} is that, and {state}")
    if not same_image:
        staging.check_fits(esp, candidate.image, extras.size_bytes if extras else 0)

    def add() -> None:
        ledger.generations.add(new, ledger.generations.texts(good.number))
        ledger.generations.stand(replace(standing, staged=number))

    def take_back() -> None:
        _stand_back(ledger, number, standing.staged)

    def write() -> None:
        if extras is not None:
            extras_files.write(esp, source.with_name(extras.sha256), extras, lambda _: None)
        staging.write_image(esp, source, candidate.image, candidate.beside, report)
        extras_files.require(esp, candidate.image, extras_in_use)

    tasks = (
        *(() if same_image else (Task("image", write, lambda: sweep(ledger, esp)),)),
        Task("generation", add, take_back),
        Task("replace", lambda: _forget_staged(ledger, esp, standing.staged)),
    )
    ledger.journal.run("stage", tasks, {"generation": number, "before": standing.staged})
    known = ledger.bad()
    if len(left := bad.without_older(known, candidate.release.sequence)) < len(known):
        ledger.set_bad(left)
    return new


def is_whole(esp: Path, candidate: Candidate) -> bool:
    """Whether all of *candidate* is on the ESP as it should be."""
    extras = candidate.extras
    return not staging.problem_of(esp, candidate.image) and (
        extras is None or extras_files.is_whole(esp, extras.sha256)
    )


def _refuse_same(
    candidate: Candidate, services: Mapping[str, ServiceVersion], good: Generation
) -> None:
    same_image = candidate.image == good.image
    if same_image and services == good.services:
        raise NotModified(f"generation {good.number} has that image, and runs already")
    if not same_image and candidate.image.build == good.image.build:
        raise InvalidArgument(
            f"the image has the build of the one that runs ({good.image.build[:16]}): nobody could "
            "tell its trial from the system that it would come back to",
            hint="build it anew, or install it: orlop install",
        )


def _with_epochs(candidate: Candidate, good: Generation) -> dict[str, ServiceVersion]:
    """The services of *candidate*: what another image has within goes on with the data it finds."""
    within = {
        name: ServiceVersion("", version.epoch)
        for name, version in good.services.items()
        if version.epoch and candidate.image != good.image
    }
    return {**within, **candidate.services}


def _forget_staged(ledger: Ledger, esp: Path, number: int) -> None:
    """A newer release takes the place of the one that was staged and never tried."""
    if number and number not in ledger.generations.pins():
        ledger.generations.remove(number)
        sweep(ledger, esp)


def _stand_back(ledger: Ledger, number: int, before: int) -> None:
    """Generation *number* is not staged after all; *before* is again, unless it is gone by now."""
    generations = ledger.generations
    standing = generations.standing()
    if standing.staged == number:
        there = before in generations.numbers()
        generations.stand(replace(standing, staged=before if there else 0))
    generations.remove(number)


def withdrawal(ledger: Ledger, esp: Path, number: int) -> tuple[Task, ...]:
    """What it takes to have generation *number* not staged any more; may be done twice."""
    generations = ledger.generations

    def stand(staged: int, instead_of: int) -> None:
        standing = generations.standing()
        if standing.staged == instead_of and staged in {0, *generations.numbers()}:
            generations.stand(replace(standing, staged=staged))

    return (
        Task("stand", lambda: stand(0, number), lambda: stand(number, 0)),
        Task("forget", lambda: _forget_staged(ledger, esp, number)),
    )


def after_interruption(ledger: Ledger, esp: Path, change: Change) -> None:
    """All that was to be staged is there, or it is as it was."""
    number, before = (int(str(change.data[key])) for key in ("generation", "before"))
    if change.tasks.get("generation") is Status.DONE:
        ledger.journal.redo(
            change.number, (Task("replace", lambda: _forget_staged(ledger, esp, before)),)
        )
        return

    def take_back() -> None:
        _stand_back(ledger, number, before)

    tasks = (
        Task("image", lambda: None, lambda: sweep(ledger, esp)),
        Task("generation", lambda: None, take_back),
    )
    ledger.journal.take_back(change.number, tasks, "interrupted")
