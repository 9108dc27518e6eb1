"""Images that are bad in every way there is: each is tried by one machine, and none is kept.

Their digests are right, as if whoever made the release had made the mistake: what is damaged on its
way is refused before that. The machine comes back by itself from all but a kernel that stops before
it can start anything, where nobody pets a watchdog yet: that takes somebody's hand on the switch.
"""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from orlop.lib.errors import DeadlineExceeded
from orlop.vm.machine import CommandFailed, LostVM
from tests.vm.next_image import damage, make_next
from tests.vm.updating import LIMIT_S, updating

if TYPE_CHECKING:
    from pathlib import Path

    from tests.vm.lab import Lab
    from tests.vm.updating import Updating

pytestmark = pytest.mark.long

CONFIGURATION = """\
hostname: first
orlop: {health: {settle: SETTLEs, deadline: 900s}}
"""
SETTLE_S = 20.0
STUCK_S = 900.0
"""A machine of which nothing is heard for that long is stuck, under emulation as well."""
PYTHON = ["/usr/bin/python3.13", "-I", "-S", "-c"]


@dataclass(frozen=True, slots=True)
class Bad:
    """An image with *bits* of *section* changed, or whose *service* runs *program* instead."""

    name: str
    section: str = ""
    bits: int = 0
    service: str = ""
    program: str = ""
    nothing: bool = False

    @property
    def build(self) -> str:
        return self.name.encode().hex().ljust(32, "0")[:32]

    def make(self, lab: Lab, scratch: Path, rng: random.Random) -> Path:
        efi = lab.out / "orlop.efi"
        if self.nothing:
            (scratch / "nothing").mkdir()
            return make_next(efi, self.build, scratch, root=scratch / "nothing")
        if not self.service:
            image = make_next(efi, self.build, scratch)
            damage(image, self.section, self.bits, rng)
            return image
        path = scratch / f"root/usr/lib/orlop/images/{self.service}/service.json"
        before = path.read_text()
        path.write_text(json.dumps({**json.loads(before), "command": [*PYTHON, self.program]}))
        image = make_next(efi, self.build, scratch)
        path.write_text(before)
        return image


BAD = (
    Bad("kernel", section=".linux", bits=8),
    Bad("initrd", section=".initrd", bits=200),
    Bad("nothing in the root", nothing=True),
    Bad("crash", service="syslog", program="raise SystemExit(1)"),
    Bad("hang", service="engine", program="import time; time.sleep(1e9)"),
    Bad("flap", service="network", program="import time; time.sleep(15)"),
    Bad("memory", service="time", program="kept = [bytes(1 << 20) for _ in range(1 << 20)]"),
)


def test_no_bad_image_is_kept(lab: Lab, tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    images = [bad.make(lab, tmp_path, rng) for bad in BAD]
    with updating(
        lab, tmp_path, settle_s=SETTLE_S, images=images, configuration=CONFIGURATION
    ) as update:
        update.machine.boot(LIMIT_S)
        for bad in BAD:
            update.stage(bad.build)
            begun_s = time.monotonic()
            update.machine.send(["orlop", "os", "apply", "--now"])
            hands = _wait_until_back(update)
            apply = next(row for row in update.ask("history") if row["verb"] == "apply")
            took_s = time.monotonic() - begun_s
            print(f"{bad.name}: {took_s:.0f} s, {hands} hands, {apply['error']}", flush=True)
            assert apply["status"] == "Undone"
            assert not hands or bad.section == ".linux"
        update.machine.succeed("orlop os verify", timeout_s=LIMIT_S)


def _wait_until_back(update: Updating) -> int:
    """How often somebody had to press the reset button until the old system was back for good."""
    machine, hands = update.machine, 0
    while True:
        try:
            machine.wait_for_ready(STUCK_S)
            if update.build() == update.first and update.ask("status")["trial"] is None:
                return hands
        except (LostVM, CommandFailed):
            # A panic, or the end of a boot, and the next one follows by itself.
            assert machine.running()
        except DeadlineExceeded:
            hands += 1
            machine.reset()
