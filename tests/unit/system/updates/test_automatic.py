"""What a machine does about releases by itself: a repository, the real worker."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest

from orlop.system.updates import (
    automatic,
    bad,
    fetch,
    offers,
    trials,
)
from orlop.system.updates.automatic import Automatic
from orlop.system.updates.bad import Bad
from orlop.system.updates.decide import ATTEMPTS
from orlop.system.updates.generations import Release as Unsigned
from orlop.system.updates.offers import Wish
from tests.unit.system.updates.machine_tree import content, image
from tests.unit.system.updates.offer_place import (
    STAGED,
    Place,
    Release,
)

if TYPE_CHECKING:
    from orlop.system.boot import Boot


def test_a_machine_heals_what_is_damaged_by_itself(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.stage()
    path = place.tree.esp / f"orlop/images/{image('b').id}.efi"
    path.write_bytes(content("b").replace(b"quiet", b"loud!"))
    assert by_itself(place, "stage", monkeypatch) == [STAGED]
    assert path.read_bytes() == content("b")
    assert place.tree.ledger().generations.standing().staged == 3
    assert by_itself(place, "stage", monkeypatch) == []


def by_itself(place: Place, mode: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two looks with the mode; what was told."""
    place.config["automatic"] = mode
    told: list[str] = []
    monkeypatch.setattr(automatic.log, "warning", lambda text, what: told.append(what))

    async def work(boot: Boot) -> None:
        found = Automatic(boot)
        await found.tick(0.0)
        for hour in (1, 2):
            await found.tick(found._next_look_s + hour)

    place.run(work)
    return told


def test_only_looking(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert by_itself(place, "check", monkeypatch) == ["release 2.0 can be had: orlop os stage"]
    assert place.tree.ledger().generations.standing().staged == 0


def test_staging(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert by_itself(place, "stage", monkeypatch) == ["release 2.0 is staged"]
    assert place.tree.ledger().generations.standing().staged == 2
    assert place.updates.applied == 0


def test_applying_when_the_gate_lets_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert by_itself(place, "apply", monkeypatch) == ["release 2.0 is staged"]
    assert place.updates.applied > 0


def test_what_is_never_tried_is_left_alone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    number = place.tree.stage("c", 9)
    for _ in range(ATTEMPTS):
        place.tree.arm(number)
        ledger = place.tree.ledger()
        found = trials.armed(ledger)
        assert found is not None
        trials.abandon(ledger, place.tree.esp, found, "the boot loader has not begun the trial")
    place.config["source"] = str(place.tree.directory / "nowhere")
    told = by_itself(place, "apply", monkeypatch)
    assert told[0] == "generation 2 was never tried, and is left alone: orlop os history"
    assert place.updates.applied == 0


def test_what_nobody_has_signed_is_for_people(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = replace(place.tree.candidate("c"), release=Unsigned("9"), tainted=True)
    place.tree.stage_candidate("c", candidate)
    place.config["source"] = "/nowhere"
    told = by_itself(place, "apply", monkeypatch)
    assert told[0] == "generation 2 is signed by nobody, and is for people to apply"
    assert place.updates.applied == 0


def test_what_was_bad_is_left_alone_also_if_it_is_staged(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.tree.stage("c", 9)
    place.tree.ledger().set_bad(bad.add({}, image("c").sha256, Bad(1, 1e12, 9, "health")))
    place.config["source"] = str(place.tree.directory / "nowhere")
    told = by_itself(place, "apply", monkeypatch)
    assert told[0].startswith("the image of generation 2 was bad (health)")
    assert place.updates.applied == 0


def test_what_was_bad_is_left_alone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = place.tree.ledger()
    known = bad.add({}, image("b").sha256, Bad(1, 1e12, 2, "health"))
    ledger.set_bad(known)
    told = by_itself(place, "apply", monkeypatch)
    assert told == ["release 2.0 was bad here (health), and is left alone"]
    assert place.tree.ledger().generations.standing().staged == 0


def test_a_clock_of_1970_does_not_end_the_time_it_is_left_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.tree.ledger().set_bad({image("b").sha256: Bad(1, 30.0, 2, "health")})
    monkeypatch.setattr(fetch, "built_at", lambda: int(time.time()) - 3600)
    told = by_itself(place, "apply", monkeypatch)
    assert told == ["release 2.0 was bad here (health), and is left alone"]
    [one] = place.tree.ledger().bad().values()
    assert abs(one.at_s - time.time()) < 600


def test_what_somebody_went_back_from_is_left_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = place.tree.ledger()
    ledger.set_bad({image("b").sha256: Bad(1, 0.0, 2, bad.LEFT)})
    told = by_itself(place, "apply", monkeypatch)
    assert told == ["release 2.0 was left here (rolled back), and is left alone"]
    place.lab.release("3.0", 3)
    assert by_itself(place, "apply", monkeypatch) == ["release 3.0 is staged"]


def test_what_is_revoked_after_it_was_staged_is_not_applied(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.gate.closed = "no update window is open"
    assert by_itself(place, "apply", monkeypatch) == ["release 2.0 is staged"]
    assert place.updates.applied == 0
    place.lab.channel("2.0", 5, revoked={"2.0": "loses data"})
    place.gate.closed = ""
    place.config["automatic"] = "apply"

    async def work(boot: Boot) -> list[str]:
        await Automatic(boot).tick(0.0)  # no look is due: it is asked all the same
        return cast("Release", boot.machine).warned

    told = place.run(work)
    assert told == ["generation 2 is not staged any more: release 2.0 is revoked: loses data"]
    assert place.updates.applied == 0
    ledger = place.tree.ledger()
    assert ledger.generations.numbers() == [1]
    assert ledger.generations.standing().staged == 0
    place.tree.check()


def test_what_is_staged_without_a_source_to_ask_is_applied(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.stage()
    place.config["source"] = "/nowhere"
    place.config["automatic"] = "apply"
    place.run(lambda boot: Automatic(boot).tick(0.0))
    assert place.updates.applied == 1


def test_off(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert by_itself(place, "off", monkeypatch) == []
    place.config.clear()
    assert by_itself(place, "apply", monkeypatch) == []


def test_what_is_not_to_be_trusted_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    path = place.tree.directory / "lab/repo/metadata/timestamp.json"
    before = path.read_bytes()
    place.lab.release("3.0", 3)
    place.run(lambda boot: offers.look(boot, Wish()))
    path.write_bytes(before)
    [text] = by_itself(place, "apply", monkeypatch)
    assert text.startswith("no update: timestamp.json has version")


def test_what_fails_is_told_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.config["source"] = "/nowhere"
    [text] = by_itself(place, "apply", monkeypatch)
    assert text.startswith("no update: /nowhere")
