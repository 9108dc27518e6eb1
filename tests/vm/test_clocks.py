"""A machine whose clock is decades wrong, at every boot, is updated like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.vm.updating import BROKEN, GOOD, LIMIT_S, next_images, updating

if TYPE_CHECKING:
    from pathlib import Path

    from tests.vm.lab import Lab

pytestmark = pytest.mark.long


@pytest.mark.parametrize("start", ["1970-01-01T00:00:10", "2099-06-01T00:00:00"])
def test_good_bad_and_back(lab: Lab, tmp_path: Path, start: str) -> None:
    images = next_images(lab, tmp_path, GOOD, BROKEN)
    with updating(lab, tmp_path, settle_s=5, images=images, rtc_start=start) as update:
        machine = update.machine
        machine.boot(LIMIT_S)
        assert machine.succeed("date -u +%Y").strip() == start[:4]

        update.stage(GOOD)
        machine.succeed("orlop os apply --now")
        machine.wait_for_ready(LIMIT_S)
        update.wait_good(2)
        assert update.build() == GOOD

        update.stage(BROKEN)
        machine.succeed("orlop os apply --now")
        machine.wait_for_event("stopping", timeout_s=LIMIT_S)
        machine.wait_for_event("stopping", timeout_s=LIMIT_S)
        machine.wait_for_ready(LIMIT_S)
        assert update.build() == GOOD
        status = update.ask("status")
        assert (status["running"], status["good"], status["staged"]) == (2, 2, None)
        [bad] = status["bad"].values()
        assert (bad["cause"], bad["count"]) == ("health", 1)

        # What was bad is left alone for a time, not for ever and not for none; a person may ask.
        update.stage(BROKEN)
        assert update.ask("why")["blocked"].endswith(("in 8.0 h", "in 7.9 h"))
        machine.succeed("orlop os apply --now --no-reboot && orlop os cancel")
        machine.succeed("orlop os rollback")
        machine.wait_for_ready(LIMIT_S)
        assert update.build() == update.first
        machine.succeed("orlop os verify && orlop os hold --until 2h && orlop os unhold")
        assert {change["status"] for change in update.ask("history")} <= {"Done", "Undone"}
