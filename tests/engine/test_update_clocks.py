"""Updates of a machine whose clock is decades wrong, or becomes so in the middle of one."""

from __future__ import annotations

import json
import time
from calendar import timegm
from typing import TYPE_CHECKING

import pytest

from tests.engine.installed_machine import InstalledMachine, ServiceLab
from tests.engine.test_service_updates import NEW, QUICK, SERVICES, archive, runs, service

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.engine]

MADE_S = timegm((2025, 1, 1, 0, 0, 0))
YEARS = {1970: "before this system was made", 2099: "expired"}
_CLOCK = """
import time
for _name, _ahead in (("time", {ahead}), ("time_ns", {ahead} * 10**9)):
    def _moment(_read=getattr(time, _name), _ahead=_ahead):
        return _read() + _ahead
    setattr(time, _name, _moment)
"""


class OtherTime(InstalledMachine):
    """Its programs take it for the beginning of *year*."""

    def __init__(self, disk: Path, year: int) -> None:
        super().__init__(SERVICES, disk, QUICK)
        self._ahead_s = timegm((year, 1, 2, 0, 0, 0)) - int(time.time())

    def _lay_out(self) -> None:
        super()._lay_out()
        path = self._image / "usr/lib/orlop/python/__main__.py"
        text = _CLOCK.format(ahead=self._ahead_s) + path.read_text()
        path.unlink()  # a link, which others have as well
        path.write_text(text)
        release = self._image / "usr/lib/orlop/release.json"
        release.write_text(json.dumps({**json.loads(release.read_text()), "date": MADE_S}))


@pytest.mark.parametrize("year", YEARS)
def test_a_wrong_clock_takes_no_release_but_what_is_there(tmp_path: Path, year: int) -> None:
    disk = tmp_path / "disk"
    (disk / "lab").mkdir(parents=True)
    lab = ServiceLab(disk / "lab")
    lab.services(2, base=lab.service(*archive(), NEW))
    with InstalledMachine(SERVICES, disk, QUICK) as machine:
        machine.wait_for(runs("base"))
        before = service(machine)["image_id"]
        assert "result" in machine.stage(lab)
    lab.services(3, base=lab.service(*archive(), NEW, epoch=1))
    with OtherTime(disk, year) as machine:
        machine.wait_for(runs("base"))
        error = machine.stage(lab)["error"]
        assert YEARS[year] in error["message"], error
        # What was staged when it was right is whole, and was checked.
        assert "result" in machine.do("apply")
        assert service(machine)["image_id"] != before
        last, *_ = machine.ask("history")
        assert time.gmtime(last["ended"]).tm_year == year
        assert "result" in machine.do("rollback")
        assert service(machine)["image_id"] == before
        [left] = machine.ask("status")["bad"].values()
        assert (left["cause"], left["eligible"]) == ("rolled back", None)
