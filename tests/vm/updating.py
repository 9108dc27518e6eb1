"""A machine that is installed and gets updates by hand, and the recording of what it writes."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

from orlop.image.disk import DiskImage, make_disk
from orlop.lib.boot_record import image_id
from orlop.lib.disk_layout import plan_disk
from orlop.lib.process import run
from orlop.lib.unified_image import describe
from orlop.vm.spec import Disk, Firmware, Installed
from tests.vm import guest
from tests.vm.judge import Recording, record
from tests.vm.lab import Hardware
from tests.vm.next_image import make_next

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from orlop.vm.machine import Machine
    from tests.vm.lab import Lab

SIZE_BYTES = 700 << 20
GOOD, BROKEN = "b" * 32, "c" * 32
MARK = "image.broken"
"""On the command line of the broken one."""
SETTLE_S = 60.0
CONFIGURATION = f"""\
hostname: first
orlop:
  health:
    settle: SETTLEs
    deadline: 1800s
    required:
      - name: not-the-broken-one
        exec: [sh, -c, "! grep -q {MARK} /proc/cmdline"]
        in: console
        timeout: 60s
"""
LIMIT_S = 600.0


@dataclass(frozen=True, slots=True)
class Updating:
    """The *machine*, which runs build *first*; its disk in the file *disk* is recorded."""

    machine: Machine
    recording: Recording
    first: str
    disk: Path

    def ask(self, what: str) -> Any:
        return json.loads(self.machine.succeed(f"orlop os {what} --json"))

    def build(self) -> str:
        return str(guest.status(self.machine)["build_id"])

    def stage_command(self, build: str) -> str:
        path = self.machine.succeed(f"grep -l {build[:8]} /sys/class/block/*/serial")
        return f"orlop os stage --image - --unsigned --json < /dev/{path.split('/')[4]}"

    def stage(self, build: str) -> int:
        answer = self.machine.succeed(self.stage_command(build), timeout_s=LIMIT_S)
        return int(json.loads(answer)["generation"])

    def wait_good(self, number: int) -> None:
        """Wait until the trial that has come up, of generation *number*, has been good."""
        event = self.machine.wait_for_event("promoted", timeout_s=LIMIT_S)
        assert event.fields["generation"] == number


@contextlib.contextmanager
def updating(
    lab: Lab,
    scratch: Path,
    *,
    settle_s: float = SETTLE_S,
    images: Sequence[Path] = (),
    configuration: str = CONFIGURATION,
    **more: Unpack[Hardware],
) -> Iterator[Updating]:
    """An installed machine, off, with *images* of next systems on disks of their own; *more* of its
    hardware than that, and a BIOS with 384 MiB."""
    builds = dict(_identity(path) for path in (lab.out / "orlop.efi", *images))
    path = scratch / "disk.raw"
    text = configuration.replace("SETTLE", f"{settle_s:g}")
    wanted = DiskImage(lab.out / "orlop.iso", SIZE_BYTES, configuration=text.encode())
    make_disk(wanted, path, scratch, lambda words, env: run(words, env=env), epoch=1_700_000_000)
    recording = record(path, scratch, plan_disk(SIZE_BYTES), builds)
    disks = tuple(Disk(image, serial=image.stem[:8]) for image in images)
    medium = Installed(Disk(path, serial="installed", record=recording.log))
    hardware = Hardware(firmware=Firmware.BIOS, memory_mib=384, disks=disks) | more
    with lab.machine(medium, "update", **hardware) as made:
        yield Updating(made, recording, next(iter(builds.values())), path)


def _identity(image: Path) -> tuple[str, str]:
    """Its ID, and its build."""
    data = image.read_bytes()
    found = describe(lambda offset, size: data[offset : offset + size])
    return image_id(hashlib.sha256(data).hexdigest()), found.build


def next_images(lab: Lab, scratch: Path, *builds: str) -> list[Path]:
    """Of these builds; `BROKEN` is what the configuration's check does not like."""
    return [
        make_next(lab.out / "orlop.efi", build, scratch, words=MARK if build == BROKEN else "")
        for build in builds
    ]
