"""Updates of an installed machine: good, broken, cut off by the power, taken back by a person."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from orlop.image.disk import DiskImage, make_disk
from orlop.lib.process import run
from orlop.vm.spec import Disk, Firmware, Installed
from tests.vm import guest
from tests.vm.next_image import make_next

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orlop.vm.machine import Machine
    from tests.vm.lab import Lab

SIZE_BYTES = 700 << 20
GOOD, BROKEN = "b" * 32, "c" * 32
CONFIGURATION = f"""\
hostname: first
orlop:
  health:
    settle: 60s
    deadline: 600s
    required:
      - name: not-the-broken-one
        exec: [sh, -c, "! orlop status --json | grep -q {BROKEN}"]
        in: console
"""
LIMIT_S = 600.0


@pytest.fixture
def machine(lab: Lab, tmp_path: Path) -> Iterator[Machine]:
    """An installed machine, off, with two images of a next system on disks of their own."""
    images = {build: make_next(lab.out / "orlop.efi", build, tmp_path) for build in (GOOD, BROKEN)}
    path = tmp_path / "disk.raw"
    wanted = DiskImage(lab.out / "orlop.iso", SIZE_BYTES, configuration=CONFIGURATION.encode())
    make_disk(wanted, path, tmp_path, lambda words, env: run(words, env=env), epoch=1_700_000_000)
    disks = tuple(Disk(image, serial=build[:8]) for build, image in images.items())
    medium = Installed(Disk(path, serial="installed"))
    with lab.machine(medium, "update", firmware=Firmware.BIOS, memory_mib=384, disks=disks) as made:
        yield made


def ask(machine: Machine, what: str) -> Any:
    return json.loads(machine.succeed(f"orlop os {what} --json"))


def build(machine: Machine) -> str:
    return str(guest.status(machine)["build_id"])


def stage(machine: Machine, build: str) -> int:
    path = machine.succeed(f"grep -l {build[:8]} /sys/class/block/*/serial")
    command = f"orlop os stage --image - --unsigned --json < /dev/{path.split('/')[4]}"
    return int(json.loads(machine.succeed(command, timeout_s=LIMIT_S))["generation"])


def wait_good(machine: Machine, number: int) -> None:
    def is_good() -> bool:
        status = ask(machine, "status")
        return bool(status["good"] == number and status["trial"] is None)

    machine.wait_until(is_good, f"generation {number} to be good", timeout_s=LIMIT_S)


@pytest.mark.long
def test_good_after_a_power_cut_and_taken_back(machine: Machine) -> None:
    machine.boot()
    first = build(machine)
    assert ask(machine, "status")["good"] == 1
    assert machine.run(["orlop", "os", "rollback"]).status == 77
    assert machine.run(["orlop", "os", "apply"]).status == 77

    # The power goes while it is tried: that is not its fault.
    assert stage(machine, GOOD) == 2
    machine.succeed("orlop os hold --reason holidays")
    assert machine.run(["orlop", "os", "apply"]).status == 75
    machine.succeed("orlop os unhold && orlop os apply --now")
    machine.wait_for_event("stage", "config", timeout_s=LIMIT_S)
    machine.power_cut()
    machine.boot()
    assert build(machine) == first
    machine.wait_for_ready(LIMIT_S)
    assert build(machine) == GOOD
    wait_good(machine, 2)
    assert [row["states"] for row in ask(machine, "list")] == [["previous"], ["running", "good"]]
    machine.succeed("orlop os verify", timeout_s=LIMIT_S)

    # And a person wants the first one back.
    machine.succeed("orlop os rollback")
    machine.wait_for_ready(LIMIT_S)
    assert build(machine) == first
    [last, *_] = ask(machine, "history")
    assert (last["verb"], last["status"]) == ("rollback", "Done")


def test_a_broken_one_comes_back_by_itself(machine: Machine) -> None:
    machine.boot()
    first = build(machine)
    assert stage(machine, BROKEN) == 2
    machine.succeed("orlop os apply --now")
    machine.wait_for_ready(LIMIT_S)
    machine.wait_for_ready(LIMIT_S)
    assert build(machine) == first
    status = ask(machine, "status")
    assert (status["running"], status["good"], status["staged"]) == (1, 1, None)
    [bad] = status["bad"].values()
    assert bad["cause"] == "health"
