"""Updates of an installed machine: good, broken, cut off by the power, taken back by a person."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.vm.judge import judge
from tests.vm.updating import BROKEN, GOOD, LIMIT_S, next_images, updating

if TYPE_CHECKING:
    from pathlib import Path

    from tests.vm.lab import Lab
    from tests.vm.updating import Updating

CUTS = 12
"""Of the thousands that `test_power_cuts` tries."""


@pytest.mark.long
def test_good_after_a_power_cut_and_taken_back(lab: Lab, tmp_path: Path) -> None:
    with updating(lab, tmp_path, images=next_images(lab, tmp_path, GOOD)) as update:
        machine = update.machine
        machine.boot()
        assert update.ask("status")["good"] == 1
        assert machine.run(["orlop", "os", "rollback"]).status == 77
        assert machine.run(["orlop", "os", "apply"]).status == 77

        # The power goes while it is tried: that is not its fault.
        assert update.stage(GOOD) == 2
        machine.succeed("orlop os hold --reason holidays")
        assert machine.run(["orlop", "os", "apply"]).status == 75
        machine.succeed("orlop os unhold && orlop os apply --now")
        machine.wait_for_event("stage", "config", timeout_s=LIMIT_S)
        machine.power_cut()
        machine.boot()
        # That was the old one, which has it tried again: too soon after it is ready to ask it.
        machine.wait_for_ready(LIMIT_S)
        assert update.build() == GOOD
        update.wait_good(2)
        states = [row["states"] for row in update.ask("list")]
        assert states == [["previous"], ["running", "good"]]
        machine.succeed("orlop os verify", timeout_s=LIMIT_S)

        # And a person wants the first one back.
        machine.succeed("orlop os rollback")
        machine.wait_for_ready(LIMIT_S)
        assert update.build() == update.first
        [last, *_] = update.ask("history")
        assert (last["verb"], last["status"]) == ("rollback", "Done")


def test_a_broken_one_comes_back_by_itself(lab: Lab, tmp_path: Path) -> None:
    """And if the power had gone at any of the writes of that, it would have come to the same."""
    images = next_images(lab, tmp_path, BROKEN)
    with updating(lab, tmp_path, images=images) as update:
        machine, recording = update.machine, update.recording
        machine.boot()
        recording.mark("stage")
        assert update.stage(BROKEN) == 2
        recording.mark("apply, the trial")
        machine.succeed("orlop os apply --now")
        machine.wait_for_ready(LIMIT_S)
        until_s = seconds_to_come_back(update)
        recording.mark("come back")
        check_came_back(update)
    phases = ", ".join(f"{what} after {seconds:.1f} s" for what, seconds in until_s.items())
    print(f"from the decision on: {phases}")
    verdicts = judge(lab, recording, CUTS, tmp_path, seed=1)
    print(verdicts)
    assert not verdicts.failures


def seconds_to_come_back(update: Updating) -> dict[str, float]:
    """From when the system on trial has decided that it is not good: until it has ended, until the
    boot loader has started the old one, and until that is ready."""
    machine = update.machine
    machine.wait_for_event("stopping", timeout_s=LIMIT_S)
    decided_s = time.monotonic()
    machine.wait_for_event("down", timeout_s=LIMIT_S)
    ended_s = time.monotonic()
    machine.wait_for_event("stage", "kernel", timeout_s=LIMIT_S)
    started_s = time.monotonic()
    machine.wait_for_ready(LIMIT_S)
    moments = {"ended": ended_s, "started": started_s, "ready": time.monotonic()}
    return {what: moment_s - decided_s for what, moment_s in moments.items()}


def check_came_back(update: Updating) -> None:
    assert update.build() == update.first
    status = update.ask("status")
    assert (status["running"], status["good"], status["staged"]) == (1, 1, None)
    [bad] = status["bad"].values()
    assert bad["cause"] == "health"
