"""What `orlop os status` tells while something goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from orlop.lib import boot_record
from orlop.system.updates import report, trials
from orlop.system.updates.generations import Generations
from orlop.system.updates.journal import Journal
from orlop.system.updates.report import Now
from tests.unit.system.updates.machine_tree import Tree

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.system.updates.generations import Standing


@pytest.mark.parametrize("beside", [False, True])
def test_a_trial_and_its_promotion_are_not_told_in_one_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: bool
) -> None:
    """At each write of the promotion; or it is done while the answer is put together."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    tree = Tree(tmp_path)
    tree.arm(tree.stage("b"))
    tree.boot_loader()
    ledger, now = tree.ledger(), Now(tree.running, "2.0", trial=True)
    seen: list[tuple[object, object]] = []

    def look() -> None:
        found = report.status(ledger, now)
        seen.append((found["good"], found["trial"]))

    def watch(place: object, name: str) -> None:
        real = getattr(place, name)

        def watched(*words: Any) -> None:
            look()
            real(*words)
            look()

        monkeypatch.setattr(place, name, watched)

    def promote() -> None:
        armed = trials.armed(ledger)
        assert armed is not None
        trials.promote(ledger, tree.esp, armed)

    def late(self: Generations) -> Standing:
        monkeypatch.setattr(Generations, "standing", standing)
        promote()
        return standing(self)

    standing = Generations.standing
    look()
    if beside:
        monkeypatch.setattr(Generations, "standing", late)
        look()
    else:
        for place, name in ((boot_record, "write"), (Generations, "stand"), (Journal, "_append")):
            watch(place, name)
        promote()
    trial = {"generation": 2, "attempt": 1, "now": True}
    before = seen.count((1, trial))
    assert before
    assert seen[before:] == [(2, None)] * (len(seen) - before) != []
