"""A console that somebody has chosen is theirs: another release of the system does not touch it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.engine.consoles_machine import ConsolesMachine, orlop, services
from tests.engine.installed_machine import BUILD, InstalledMachine
from tests.engine.store.archives import LayerBuilder, busybox_layer, docker_archive

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.engine]

MARKED = LayerBuilder().add("mark", b"another root\n").finish()


class Released(ConsolesMachine, InstalledMachine):
    """A machine with consoles on *disk* that runs release *version*."""

    def __init__(self, disk: Path, version: str) -> None:
        super().__init__(services(), disk, "")
        self._version = version

    def _lay_out(self) -> None:
        super()._lay_out()
        release = self._image / "usr/lib/orlop/release.json"
        release.write_text(json.dumps({"version": self._version, "build": BUILD}))


def test_it_stays(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with Released(disk, "1.0") as machine:
        machine.wait_ready()
        archive = docker_archive([busybox_layer(), MARKED], ["mine:1"])
        machine.path("/var/lib/orlop/root/mine.tar").write_bytes(archive)
        done = orlop(machine, "console", "enable", "--file", "/root/mine.tar")
        assert done.returncode == 0, done
    with Released(disk, "2.0") as machine:
        assert machine.wait_ready()["version"] == "2.0"
        shell = {"name": "shell", "state": "running"}
        machine.wait_for(lambda found: any(shell.items() <= s.items() for s in found["services"]))
        done = orlop(machine, "console", "enter", "--", "-c", "cat /mark")
        assert done.stdout == b"another root\n", done
