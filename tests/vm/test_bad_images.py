"""Images that are bad in every way there is: each is tried by one machine, and none is kept.

Their digests are right, as if whoever made the release had made the mistake: what is damaged on its
way is refused before that. A kernel that cannot be unpacked is not even staged. The machine comes
back by itself from all but one that stops before it can start anything, where nobody pets a
watchdog yet: that takes somebody's hand on the switch.
Its BIOS keeps what the kernel says of its own death (ACPI ERST), as servers' do.
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
from tests.vm.next_image import damage, make_next, take_apart
from tests.vm.updating import LIMIT_S, updating

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.vm.lab import Lab
    from tests.vm.updating import Updating

pytestmark = pytest.mark.long

CONFIGURATION = """\
hostname: first
orlop: {health: {settle: SETTLEs, deadline: 240s}}
"""
SETTLE_S = 20.0
STUCK_S = 900.0
"""A machine of which nothing is heard for that long is stuck, under emulation as well."""
KERNEL_STUCK_S = 150.0
"""The same where the bad one is stuck for sure."""
PYTHON = ["/usr/bin/python3.13", "-I", "-S", "-c"]


@dataclass(frozen=True, slots=True)
class Bad:
    """An image with *bits* of *section* changed, of all or of its last bytes, or whose *service*
    runs *program* instead; what is written down as the *cause*, if that is certain."""

    name: str
    section: str = ""
    bits: int = 0
    last_bytes: int = 0
    service: str = ""
    program: str = ""
    nothing: bool = False
    cause: str = "health"

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
            damage(image, self.section, self.bits, rng, self.last_bytes)
            return image
        if not (scratch / "root").exists():
            take_apart(efi, scratch / "root", scratch / "parts")
        path = scratch / f"root/usr/lib/orlop/images/{self.service}/service.json"
        before = path.read_text()
        path.write_text(json.dumps({**json.loads(before), "command": [*PYTHON, self.program]}))
        image = make_next(efi, self.build, scratch)
        path.write_text(before)
        return image


START_BYTES = 90_000
"""At the end of a kernel: the program that unpacks the rest of it."""
KERNEL = Bad("kernel", section=".linux", bits=8)
BAD = (
    Bad("start", section=".linux", bits=200, last_bytes=START_BYTES, cause="power or unknown"),
    Bad("initrd", section=".initrd", bits=200, cause=""),
    Bad("nothing", nothing=True, cause="panic"),
    Bad("crash", service="syslog", program="raise SystemExit(1)"),
    Bad("hang", service="engine", program="import time; time.sleep(1e9)"),
    Bad("flap", service="network", program="import time; time.sleep(15)"),
    Bad("memory", service="time", program="kept = [bytes(1 << 20) for _ in range(1 << 20)]"),
)


@pytest.fixture(scope="module")
def update(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Updating]:
    """A machine with what the chosen tests stage."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng, scratch = random.Random(seed), tmp_path_factory.mktemp("bad")
    chosen = {item.name for item in request.session.items}
    images = [
        bad.make(lab, scratch, rng)
        for bad in (*BAD, KERNEL)
        if any(f"[{bad.name}]" in name for name in chosen)
    ]
    kept = f"memory-backend-file,id=erst,size=64K,share=on,mem-path={scratch}/erst"
    with updating(
        lab,
        scratch,
        settle_s=SETTLE_S,
        images=images,
        configuration=CONFIGURATION,
        extra=("-object", kept, "-device", "acpi-erst,memdev=erst"),
    ) as found:
        found.machine.boot(LIMIT_S)
        yield found


@pytest.mark.parametrize("bad", [KERNEL], ids=lambda bad: bad.name)
def test_a_damaged_kernel_is_not_staged(update: Updating, bad: Bad) -> None:
    before = update.ask("status")
    text = update.machine.fail(f"{update.stage_command(bad.build)} 2>&1", timeout_s=LIMIT_S)
    assert "the kernel in the file is damaged" in text
    assert update.ask("status") == before


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_a_bad_image_is_not_kept(update: Updating, bad: Bad) -> None:
    update.stage(bad.build)
    begun_s = time.monotonic()
    update.machine.send(["orlop", "os", "apply", "--now"])
    is_kernel = bad.section == ".linux"
    hands = _wait_until_back(update, KERNEL_STUCK_S if is_kernel else STUCK_S)
    apply = next(row for row in update.ask("history") if row["verb"] == "apply")
    took_s = time.monotonic() - begun_s
    print(f"{bad.name}: {took_s:.0f} s, {hands} hands, {apply['error']}", flush=True)
    assert apply["status"] == "Undone"
    assert apply["error"].startswith(bad.cause)
    assert not hands or is_kernel
    update.machine.succeed("orlop os verify", timeout_s=LIMIT_S)


def _wait_until_back(update: Updating, stuck_s: float) -> int:
    """How often somebody had to press the reset button until the old system was back for good."""
    machine, hands = update.machine, 0
    while True:
        try:
            machine.wait_for_ready(stuck_s)
            if update.build() == update.first and update.ask("status")["trial"] is None:
                return hands
        except (LostVM, CommandFailed):
            # A panic, or the end of a boot, and the next one follows by itself.
            assert machine.running()
        except DeadlineExceeded:
            hands += 1
            machine.reset()
