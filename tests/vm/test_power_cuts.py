"""The power goes while a machine is updated: at every write that it makes, and for real.

The first test records one machine through two updates and a way back, and judges each disk that
a power cut could have left (`judge`); the second kills QEMU at random moments of the same.
ORLOP_TEST_CUTS and ORLOP_TEST_KILLS say how often; a failure names the seed. What was recorded, and
which disks have come to a good end, is kept in the directory ORLOP_TEST_RECORDING, if that is set:
the next run goes on with other cuts.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orlop.lib.errors import OrlopError
from orlop.vm.machine import CommandFailed
from tests.vm import guest
from tests.vm.judge import Recording, judge
from tests.vm.updating import BROKEN, GOOD, LIMIT_S, next_images, updating
from tests.vm.write_log import read_log

if TYPE_CHECKING:
    from tests.vm.lab import Lab
    from tests.vm.updating import Updating

pytestmark = pytest.mark.long

CUTS = int(os.environ.get("ORLOP_TEST_CUTS", "1500"))
KILLS = int(os.environ.get("ORLOP_TEST_KILLS", "20"))
BOOTS = 20
LONGEST_S = 60.0
"""Of a machine's run before QEMU is killed."""


def test_at_every_write_of_updates_and_the_way_back(lab: Lab, tmp_path: Path) -> None:
    seed = _seed()
    scratch = Path(os.environ.get("ORLOP_TEST_RECORDING") or tmp_path).resolve()
    scratch.mkdir(exist_ok=True)
    recording = Recording.load(scratch)
    if recording is None:
        images = next_images(lab, scratch, GOOD, BROKEN)
        with updating(lab, scratch, settle_s=10, images=images) as update:
            _update_and_go_back(update)
        recording = update.recording
        recording.save()
    entries, _ = read_log(recording.log)
    print(f"{len(entries)} writes and flushes")
    verdicts = judge(lab, recording, CUTS, tmp_path, seed)
    print(verdicts)
    assert not verdicts.failures


def _update_and_go_back(update: Updating) -> None:
    machine, recording = update.machine, update.recording
    machine.boot(LIMIT_S)
    recording.mark("stage")
    assert update.stage(GOOD) == 2
    recording.mark("apply, the trial")
    machine.succeed("orlop os apply --now")
    machine.wait_for_ready(LIMIT_S)
    update.wait_good(2)
    recording.mark("roll back")
    machine.succeed("orlop os rollback")
    machine.wait_for_ready(LIMIT_S)
    assert update.build() == update.first
    recording.mark("stage a bad one")
    update.stage(BROKEN)
    recording.mark("apply, the trial of the bad one")
    machine.succeed("orlop os apply --now")
    machine.wait_for_ready(LIMIT_S)
    machine.wait_for_ready(LIMIT_S)
    recording.mark("collect")
    machine.succeed("orlop os gc")
    guest.end(machine, "orlop", "poweroff")
    machine.wait_for_power_off(LIMIT_S)


def test_qemu_is_killed_at_random_moments_of_updates(lab: Lab, tmp_path: Path) -> None:
    rng = random.Random(_seed())
    with updating(lab, tmp_path, settle_s=5, images=next_images(lab, tmp_path, GOOD)) as update:
        machine = update.machine
        machine.boot(LIMIT_S)
        for number in range(1, KILLS + 1):
            doing = _begin(update)
            moment_s = rng.uniform(0, LONGEST_S)
            # A moment like any other: there is nothing to wait for.
            time.sleep(moment_s)
            machine.power_cut()
            machine.boot(LIMIT_S)
            print(f"{number}: {moment_s:.1f} s after {doing}", flush=True)
        _wait_until_quiet(update)
        machine.succeed("orlop os verify", timeout_s=LIMIT_S)
        history = update.ask("history")
        print([(change["verb"], change["status"]) for change in history])
        assert {change["status"] for change in history} <= {"Done", "Undone"}


def _begin(update: Updating) -> str:
    """Have the machine go to the other system, without waiting for anything."""
    with contextlib.suppress(OrlopError, CommandFailed):
        if update.ask("status")["trial"] is not None:
            return "the boot of a trial"
        if update.build() != update.first:
            update.machine.send(["orlop", "os", "rollback"])
            return "a rollback"
        command = f"({update.stage_command(GOOD)}; orlop os apply --now) >/dev/null 2>&1 &"
        update.machine.send(["sh", "-c", command])
        return "an update"
    return "a reboot"


def _wait_until_quiet(update: Updating) -> None:
    """What was interrupted last may take another trial, and so another boot."""

    def is_quiet() -> bool:
        with contextlib.suppress(OrlopError, CommandFailed):
            changes = update.ask("history")
            return all(change["status"] in {"Done", "Undone"} for change in changes)
        return False

    update.machine.wait_until(is_quiet, "every change to be at its end", timeout_s=3 * LIMIT_S)


def test_twenty_boots_write_nothing_to_the_boot_partition(lab: Lab, tmp_path: Path) -> None:
    with updating(lab, tmp_path) as update:
        machine = update.machine
        before = _esp(update)
        machine.boot(LIMIT_S)
        for number in range(1, BOOTS):
            if number % 2:
                guest.end(machine, "orlop", "reboot")
            else:
                machine.reset()
            machine.wait_for_ready(LIMIT_S)
        guest.end(machine, "orlop", "poweroff")
        machine.wait_for_power_off(LIMIT_S)
        after = _esp(update)
    esp = update.recording.layout.esp
    entries, _ = read_log(update.recording.log)
    there = [
        entry
        for entry in entries
        if esp.start_bytes - entry.size_bytes
        < entry.offset_bytes
        < esp.start_bytes + esp.size_bytes
        and not entry.is_flush
    ]
    print(f"{BOOTS} boots, {len(entries)} writes and flushes, {len(there)} to the boot partition")
    print(f"before {before}, after {after}")
    assert (after, there) == (before, [])


def _esp(update: Updating) -> str:
    """The hash of the partition as it is on the disk."""
    esp = update.recording.layout.esp
    with update.disk.open("rb") as disk:
        disk.seek(esp.start_bytes)
        return hashlib.sha256(disk.read(esp.size_bytes)).hexdigest()


def _seed() -> int:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    return seed
