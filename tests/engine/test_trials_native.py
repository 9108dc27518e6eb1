"""Trials on a machine of namespaces: PID 1, its checks and its reboots are real.

What chooses the image that is booted stands in for the boot loader.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from orlop.lib import boot_record
from tests.engine.installed_machine import BUILD, IMAGE, InstalledMachine
from tests.engine.test_service_updates import SERVICES, runs
from tests.unit.system.updates.release_lab import ReleaseLab

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.engine]

NEXT, NEXT_IMAGE = "cd" * 8, b"the next image" * 999
BUILDS = {hashlib.sha256(IMAGE).hexdigest()[:16]: BUILD}
BUILDS[hashlib.sha256(NEXT_IMAGE).hexdigest()[:16]] = NEXT
BOOTS = itertools.count(1)
QUICK = "orlop: {health: {settle: 1s, deadline: 60s}}\n"
SLOW = "orlop: {health: {settle: 900s, deadline: 1000s}}\n"
RED = (
    "hostname: first\n"
    "orlop: {health: {settle: 1s, deadline: 60s, required: [{name: mine, tcp: '127.0.0.1:1'}]}}\n"
)

UPTIME = """
_BEGAN_S = time.monotonic()


def uptime_s():
    return time.monotonic() - _BEGAN_S
"""


class TrialMachine(InstalledMachine):
    """What is on the disk decides which system it is; each is another boot."""

    def _lay_out(self) -> None:
        super()._lay_out()
        usr = self._image / "usr/lib/orlop"
        words = {"version": "1.0", "build": BUILDS[boot_loader(self._disk / "esp/orlop")]}
        (usr / "release.json").write_text(json.dumps(words))
        boot_id = f"def boot_id():\n    return 'boot {next(BOOTS)}'\n"
        for name, more in (("config/store", boot_id), ("boot_channel", UPTIME)):
            path = usr / f"python/orlop/system/{name}.py"
            text = f"{path.read_text()}\n\n{more}"
            path.unlink()  # a link, which others have as well
            path.write_text(text)

    def __enter__(self) -> TrialMachine:
        super().__enter__()
        self.wait_for(runs("base"))
        return self

    def build(self) -> str:
        return str(self.ask("status")["build"])

    def wait_told(self, what: str, value: object) -> dict[str, Any]:
        """Wait until *what* of `orlop os status` is *value*."""
        self.wait_for(lambda _: self.ask("status")[what] == value)
        found: dict[str, Any] = self.ask("status")
        return found

    def do_when_free(self, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        """Have *verb* done, which what follows a trial may refuse for a moment."""
        answers: list[dict[str, Any]] = []

        def is_free(_: dict[str, Any]) -> bool:
            answers.append(self.do(verb, body))
            return bool(answers[-1].get("error", {}).get("kind") != "Conflict")

        self.wait_for(is_free)
        assert "result" in answers[-1], answers
        found: dict[str, Any] = answers[-1]["result"]
        return found


def boot_loader(directory: Path) -> str:
    """The image that GRUB would start: a trial once, else the default."""
    record, tried = boot_record.read(directory)
    if not record.trial or record.sequence == tried:
        return record.default
    text = f"# GRUB Environment Block\ntried={record.sequence}\n"
    (directory / "tried.env").write_text(text.ljust(1024, "#"))
    return record.trial


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    (tmp_path / "disk/lab").mkdir(parents=True)
    return tmp_path / "disk"


def begin(disk: Path, config: str) -> None:
    """Stage the next system and reboot into its trial."""
    lab = ReleaseLab(disk / "lab")
    lab.image.write_bytes(NEXT_IMAGE)
    lab.release("2.0", 2, build=NEXT)
    with TrialMachine(SERVICES, disk, config) as machine:
        assert machine.build() == BUILD
        machine.do("trust", {"root": lab.root.decode()})
        assert machine.do("stage", {"source": "/disk/lab/repo"})["result"]["generation"] == 2
        assert machine.do("apply")["result"]["reboot"] is True
        machine.wait_end()


def test_a_good_one_is_kept(disk: Path) -> None:
    begin(disk, QUICK)
    with TrialMachine(SERVICES, disk) as machine:
        assert machine.build() == NEXT
        assert machine.wait_told("trial", None)["good"] == 2
        assert machine.do_when_free("rollback", {"reboot": False})["generation"] == 1
    with TrialMachine(SERVICES, disk) as machine:
        assert machine.build() == BUILD
        assert machine.ask("status")["previous"] == 2


def test_one_that_does_not_do_its_work_comes_back(disk: Path) -> None:
    begin(disk, RED)
    with TrialMachine(SERVICES, disk) as machine:
        assert machine.build() == NEXT
        machine.wait_end()  # it reboots by itself
    with TrialMachine(SERVICES, disk) as machine:
        found = machine.wait_told("trial", None)
        assert (found["build"], found["good"], found["staged"]) == (BUILD, 1, None)
        (bad,) = found["bad"].values()
        assert bad["cause"] == "health", bad
        assert machine.ask("history")[0]["status"] == "Undone"
        answer = machine.do("stage", {"source": "/disk/lab/repo"})
        assert answer["result"]["generation"] == 3, answer  # a person may


def test_who_reboots_in_a_trial_does_not_condemn_it(disk: Path) -> None:
    begin(disk, SLOW)
    with TrialMachine(SERVICES, disk) as machine:
        trial = {"generation": 2, "attempt": 1, "now": True}
        assert machine.wait_told("trial", trial)["good"] == 1
        body = {"source": "/disk/lab/repo", "generation": 1, "reason": "no"}
        for verb in ("stage", "apply", "rollback", "cancel"):
            answer = machine.do(verb, body)
            assert answer.get("error", {}).get("kind") in ("Conflict", "NotModified"), (
                verb,
                answer,
            )
        assert "orlop reboot ends it" in machine.do("rollback", body)["error"]["hint"]
        for verb in ("pin", "unpin", "hold", "unhold"):
            assert "result" in machine.do(verb, body), verb
        assert "on trial" in machine.ask("why")["blocked"]
        assert machine.request("POST", "/orlop/reboot")[0] == 202
        machine.wait_end()
    with TrialMachine(SERVICES, disk) as machine:
        machine.wait_end()  # the old one, which tries it again
    with TrialMachine(SERVICES, disk) as machine:
        assert machine.wait_told("trial", {**trial, "attempt": 2})["bad"] == {}
