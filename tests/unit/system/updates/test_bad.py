"""What is left alone: for how long, whatever the clock says, and what ends that."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from orlop.system.updates import bad, report, rollback
from orlop.system.updates.report import Now
from tests.unit.system.updates.machine_tree import Tree, image

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    monkeypatch.setattr("os.fsync", lambda _: None)
    return Tree(tmp_path)


def test_what_somebody_went_back_from_is_left_alone(tree: Tree) -> None:
    tree.stage("b")
    tree.arm(2)
    tree.until_quiet()
    rollback.roll_back(tree.ledger(), tree.esp, 1)
    ledger = tree.ledger()
    assert ledger.bad().keys() == {image("b").sha256}
    assert bad.left_s(ledger.bad()[image("b").sha256], 1e12) == float("inf")
    rows = report.list_generations(ledger, Now("build-a", "1.0"))
    assert [row["states"] for row in rows if isinstance(row, dict)] == [
        ["running", "good"],
        ["previous", "left"],
    ]
    told = report.status(ledger, Now("build-a", "1.0"))
    assert "Infinity" not in json.dumps(told)
    tree.boot_loader()
    rollback.roll_back(tree.ledger(), tree.esp, 2)
    assert tree.ledger().bad() == {}, "and forward again; nobody is given what is older"
    rollback.roll_back(tree.ledger(), tree.esp, 1)
    tree.boot_loader()
    tree.stage("c", 3)
    assert tree.ledger().bad() == {}, "a newer one ends it"


def test_services_that_somebody_went_back_from_are_left_alone(tree: Tree) -> None:
    tree.replace_services(tree.stage_services())
    tree.replace_services(1, verb="rollback")
    ledger = tree.ledger()
    assert {key: one.cause for key, one in ledger.bad().items()} == {"manifest-a": bad.LEFT}
    assert report.bad_text(ledger, ledger.generations.read(2)) == (
        "somebody has gone back from the release of generation 2"
    )
    tree.replace_services(2)
    assert tree.ledger().bad() == {}, "somebody has applied it once more"


def test_the_back_off_grows() -> None:
    known: dict[str, bad.Bad] = {}
    hours = []
    for _ in range(9):
        known = bad.add(known, "x", bad.Bad(1, 1000.0, 5, "health"))
        hours.append(bad.left_s(known["x"], 1000.0) / 3600)
    assert hours == [8, 12, 24, 48, 96, 168, 336, 336, 336]
    assert bad.left_s(known["x"], 0.0) == 336 * 3600, "a clock that was set back"
    assert bad.left_s(known["x"], 1000.0 + 336 * 3600) == 0
    assert bad.without_older(known, 5) == known
    assert bad.without_older(known, 6) == {}


def test_what_a_wrong_clock_has_dated_is_mended() -> None:
    floor, now = 1000.0, 5000.0
    at = {"1970": 12.0, "right": 4000.0, "2099": 9999.0}
    known = {name: bad.Bad(1, at_s, 5, "health") for name, at_s in at.items()}
    found = {name: one.at_s for name, one in bad.dated(known, now, floor).items()}
    assert found == {"1970": now, "right": 4000.0, "2099": now}
    assert bad.dated(known, 12.5, floor) == known, "the clock is wrong still"
