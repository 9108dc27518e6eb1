"""The mirror that the state may be on, as the kernel has it: which halves are there, what it does.

Reads a few small files of sysfs, and no disk but for `members`. Source: Linux 6.12 drivers/md/md.c.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib.disk_ids import entries, read_text
from orlop.system.storage.block_devices import SYS_BLOCK, candidates, kernel_name, read_volume
from orlop.system.storage.superblock import RAID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.system.storage.halves import Half
    from orlop.wire.compose_model import Json

LEVEL = "raid1"
MODULE = "/sys/module/raid1"
"""Is there on machines that have a mirror, or another array of that kind."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """*wanted* halves it should have; *parts* are devices, by what they are: `in_sync`, `spare`
    (it is being filled), `faulty`."""

    device: str
    wanted: int
    missing: int
    parts: tuple[tuple[str, str], ...]
    action: str = "idle"
    share: float | None = None
    """How much of *action* is done."""
    apart: tuple[tuple[str, int], ...] = ()
    """Halves that were used without these when they were looked for, and when that was, in seconds
    since 1970: nothing is written to them."""

    @property
    def whole(self) -> tuple[str, ...]:
        """The devices that have everything."""
        return tuple(device for device, kind in self.parts if kind == "in_sync")

    @property
    def problem(self) -> str:
        """What is wrong with it, in words; empty if nothing is."""
        if not self.missing:
            return ""
        on = ", ".join(self.whole) or "no disk"
        if self.share is not None:
            return f"the state is on {on} alone until the other half has been filled"
        if self.apart:
            from orlop.system.storage import halves

            other, used_s = self.apart[0]
            return (
                f"the state is on {on} alone: {other} was used without it, last on "
                f"{halves.when(used_s)}, and is left as it is (orlop disks mirror)"
            )
        return f"the state is on {on} alone: the other half of its mirror is missing or broken"


def of_state(state_device: str, sys_block: str = SYS_BLOCK) -> Mirror | None:
    """The mirror that is, or is below, the device of the state; None without one."""
    if not state_device or not os.path.isdir(MODULE):
        return None
    name = kernel_name(state_device)
    for _ in range(4):  # encrypted, a volume, on a mirror
        directory = f"{sys_block}/{name}"
        if read_text(f"{directory}/md", "level") == LEVEL:
            return _read(name, f"{directory}/md")
        below = entries(f"{directory}/slaves")
        if len(below) != 1:
            return None
        name = below[0]
    return None


def _read(name: str, directory: str) -> Mirror:
    from orlop.system.storage import halves  # most machines have no mirror

    parts = []
    for entry in entries(directory):
        if entry.startswith("dev-"):
            kinds = read_text(f"{directory}/{entry}", "state").split(",")
            kind = next((k for k in ("faulty", "in_sync", "spare") if k in kinds), kinds[0])
            parts.append((f"/dev/{entry.removeprefix('dev-').replace('!', '/')}", kind))
    done, _, total = read_text(directory, "sync_completed").partition(" / ")
    share = int(done) / int(total) if done.isdecimal() and total.isdecimal() else None
    devices = [device for device, _ in parts]
    return Mirror(
        f"/dev/{name}",
        _number(read_text(directory, "raid_disks")),
        _number(read_text(directory, "degraded")),
        tuple(sorted(parts)),
        read_text(directory, "sync_action") or "idle",
        share,
        tuple(halves.noted(devices)),
    )


def to_json(mirror: Mirror) -> dict[str, Json]:
    """As the API gives it."""
    return {
        "device": mirror.device,
        "wanted": mirror.wanted,
        "missing": mirror.missing,
        "parts": [{"device": device, "state": kind} for device, kind in mirror.parts],
        "action": mirror.action,
        "share": mirror.share,
        "apart": [{"device": device, "used_s": used_s} for device, used_s in mirror.apart],
        "problem": mirror.problem,
    }


def members(mirror: Mirror, sys_block: str = SYS_BLOCK, dev: str = "/dev") -> list[str]:
    """Partitions that say of themselves that they belong to *mirror*: first those that it uses.

    One that was away for a time is not among its parts, and may have something old. One that was
    used without those is left out: it is `parted`.
    """
    identity = next((i for device in mirror.whole if (i := _identity(device))), "")
    found = [f"{dev}/{name.replace('!', '/')}" for name in candidates(sys_block)]
    own = [device for device in found if identity and _identity(device) == identity]
    apart = {half.device for half, _ in parted(mirror, own)}
    own = [device for device in own if device not in apart]
    return sorted(own, key=lambda device: device not in mirror.whole)


def parted(mirror: Mirror, devices: Sequence[str]) -> list[tuple[Half, Half]]:
    """Those of *devices* that were used without the halves that *mirror* has, each with one of
    these. May block."""
    from orlop.system.storage import halves

    known = [half for d in {*mirror.whole, *devices} if (half := halves.read(d)) is not None]
    return halves.sort_out(known, mirror.whole)


def _identity(device: str) -> str:
    volume = read_volume(device)
    return volume.superblock.uuid if volume and volume.superblock.fstype == RAID else ""


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
