"""What `orlop os` shows: plain JSON from what is known, and the one reason why nothing happens."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from orlop.system.updates import bad, hold, trials
from orlop.system.updates.generations import digest_of, shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orlop.system.updates import decide
    from orlop.system.updates.generations import Generation, Standing
    from orlop.system.updates.journal import Change
    from orlop.system.updates.ledger import Ledger
    from orlop.wire.compose_model import Json

HISTORY = 50


@dataclass(frozen=True, slots=True)
class Now:
    """What runs. *trial*: this boot is one. *verb*: what is being done; empty for nothing."""

    build: str
    version: str
    trial: bool = False
    verb: str = ""


def states(number: int, standing: Standing, trial: int, pins: set[int]) -> list[str]:
    """What generation *number* is, in words."""
    found = [
        ("good", standing.good == number),
        ("previous", standing.previous == number),
        ("staged", standing.staged == number),
        ("trial", trial == number),
        ("pinned", number in pins),
    ]
    return [word for word, applies in found if applies]


def _stand(ledger: Ledger) -> tuple[Standing, decide.Armed | None]:
    """What stands, and the trial that is under way, as of one moment: a promotion goes on beside.

    The trial is looked for first; once its generation is the good one it is over.
    """
    armed = trials.armed(ledger)
    standing = ledger.generations.standing()
    over = armed is not None and standing.good == armed.generation
    return standing, None if over else armed


def list_generations(ledger: Ledger, now: Now) -> list[Json]:
    """All generations, oldest first."""
    generations = ledger.generations
    (standing, armed), pins = _stand(ledger), generations.pins()
    known = ledger.bad()
    trial = 0 if armed is None else armed.generation
    running = _running(ledger, now, standing, armed)
    found: list[Json] = []
    for generation in generations.all():
        number, wrong = generation.number, bad_of(known, generation)
        words = states(number, standing, trial, pins)
        if number == running:
            words.insert(0, "running")
        if wrong is not None:
            words.append("left" if wrong.cause == bad.LEFT else "bad")
        services: Json = {name: shown(v) for name, v in generation.services.items()}
        found.append({**generation.to_json(), "services": services, "states": [*words]})
    return found


def bad_of(known: Mapping[str, bad.Bad], generation: Generation) -> bad.Bad | None:
    """What is bad of *generation*: its image, or its services with the image that runs."""
    return known.get(generation.image.sha256) or known.get(generation.release.digest)


def _running(ledger: Ledger, now: Now, standing: Standing, armed: decide.Armed | None) -> int:
    """The generation that runs; 0 if none has the build that does."""
    likely = [0 if armed is None or not now.trial else armed.generation, standing.good]
    for number in (*likely, *reversed(ledger.generations.numbers())):
        if number and ledger.generations.read(number).image.build == now.build:
            return number
    return 0


def status(ledger: Ledger, now: Now) -> dict[str, Json]:
    """Where the machine stands."""
    standing, armed = _stand(ledger)
    good = ledger.generations.read(standing.good)
    found = hold.read(ledger.directory)
    held = found if found is not None and found.holds(time.time()) else None
    return {
        "installed": True,
        "version": now.version,
        "build": now.build,
        "running": _running(ledger, now, standing, armed) or None,
        "good": standing.good or None,
        "previous": standing.previous or None,
        "staged": standing.staged or None,
        "services": {name: shown(version) for name, version in good.services.items()},
        "trial": None
        if armed is None
        else {"generation": armed.generation, "attempt": armed.attempt, "now": now.trial},
        "configuration_changed": good.configuration != digest_of(ledger.texts()),
        "hold": None if held is None else {**asdict(held)},
        "bad": {
            digest: {**asdict(one), "eligible": _finite(one.eligible_s())}
            for digest, one in ledger.bad().items()
        },
        "blocked": _why(ledger, now, standing, armed) or None,
    }


def _finite(at_s: float) -> float | None:
    return at_s if math.isfinite(at_s) else None


def why(ledger: Ledger, now: Now) -> str:
    """The one reason why no update is applied now; empty if one can be."""
    return _why(ledger, now, *_stand(ledger))


def _why(ledger: Ledger, now: Now, standing: Standing, armed: decide.Armed | None) -> str:
    if now.verb:
        return f"busy: {now.verb}"
    if now.trial and armed is not None:
        return armed.on_trial
    if armed is not None:
        return f"generation {armed.generation} is tried with the next boot"
    if text := held(ledger):
        return text
    if not standing.staged:
        return "nothing is staged"
    return bad_text(ledger, ledger.generations.read(standing.staged))


def held(ledger: Ledger) -> str:
    """Why updates are held; empty if they are not."""
    return held_in(ledger.directory)


def held_in(directory: Path) -> str:
    """As `held`, also where nothing is installed."""
    found = hold.read(directory)
    if found is None or not found.holds(time.time()):
        return ""
    until = f" until {moment(found.until_s)}" if found.until_s else ""
    return f"updates are held{until}: {found.reason or 'no reason was given'}"


def bad_text(ledger: Ledger, generation: Generation) -> str:
    """Why the image of *generation* is left alone; empty if it is not."""
    all_known = ledger.bad()
    known = bad_of(all_known, generation)
    what = "image" if generation.image.sha256 in all_known else "release"
    if known is None or not (left := bad.left_s(known, time.time())):
        return ""
    if known.cause == bad.LEFT:
        return f"somebody has gone back from the {what} of generation {generation.number}"
    text = f"{known.cause}: {known.text}" if known.text else known.cause
    return (
        f"the {what} of generation {generation.number} was bad ({text}); "
        f"it is tried again by itself in {left / 3600:.1f} h"
    )


def history(ledger: Ledger) -> list[Json]:
    """The last changes, the newest first."""
    changes = list(ledger.journal.changes.values())[-HISTORY:]
    return [_change(change) for change in reversed(changes)]


def _change(change: Change) -> Json:
    return {
        "change": change.number,
        "verb": change.verb,
        "status": change.status.value,
        "error": change.error or None,
        "created": change.created_s,
        "ended": change.ended_s or None,
        "tasks": {name: status.value for name, status in change.tasks.items()},
        "data": dict(change.data),
    }


def moment(at_s: float) -> str:
    """A time for people."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at_s))
