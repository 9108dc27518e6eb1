"""The machine's disks: devices, partitions, file systems, how full, how well, what is kept where.

Reads sysfs, the mount table and the first sectors of each device. A broken disk may take its time:
run it in a thread.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orlop.lib.disk_ids import entries
from orlop.lib.mount import read_mounts
from orlop.system.storage import mirror
from orlop.system.storage.block_devices import SYS_BLOCK, candidates, read_volume
from orlop.system.storage.persistence import ALWAYS, in_force

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop.lib.mount import MountEntry
    from orlop.system.storage.state import State
    from orlop.wire.compose_model import Json

SECTOR_BYTES = 512
MAX_MOUNTS = 32


def read_disks(state: State | None, sys_block: str = SYS_BLOCK, dev: str = "/dev") -> list[Json]:
    """As `GET /orlop/disks` gives them: a row for each disk, with its partitions."""
    mounts = read_mounts()
    names = candidates(sys_block, optical=True)
    disks: list[Json] = []
    for name in names:
        directory = f"{sys_block}/{name}"
        if os.path.exists(f"{directory}/partition"):
            continue
        disk = _disk(name, directory)
        parts = [other for other in names if os.path.isdir(f"{directory}/{other}")]
        disk["content"] = _content(name, dev, mounts, state)
        disk["partitions"] = [
            {
                "name": part,
                "device": device_of(part, dev),
                "number": _number(f"{directory}/{part}/partition"),
                "label": _uevent(f"{directory}/{part}").get("PARTNAME", ""),
                "size_bytes": _number(f"{directory}/{part}/size") * SECTOR_BYTES,
                "content": _content(part, dev, mounts, state),
            }
            for part in parts
        ]
        disks.append(disk)
    return disks


def persistence(state: State | None) -> dict[str, Json]:
    """What a reboot leaves: which paths are on a disk, and which disk that is."""
    on_disk = state is not None and state.mode == "disk"
    on = mirror.of_state(state.device) if state is not None else None
    return {
        "mirror": None if on is None else mirror.to_json(on),
        "kind": "disk" if on_disk else "memory",
        "device": state.device if on_disk and state is not None else "",
        "paths": [*ALWAYS, *in_force()] if on_disk else [],
    }


def device_of(name: str, dev: str = "/dev") -> str:
    """sysfs writes ! where a device's name has a slash."""
    return f"{dev}/{name.replace('!', '/')}"


def _disk(name: str, directory: str) -> dict[str, Json]:
    serial = _text(f"{directory}/device/serial") or _text(f"{directory}/serial")
    return {
        "name": name,
        "device": device_of(name),
        "size_bytes": _number(f"{directory}/size") * SECTOR_BYTES,
        "vendor": _text(f"{directory}/device/vendor") if not name.startswith("vd") else "",
        "model": _text(f"{directory}/device/model"),
        "serial": serial,
        "rotational": _text(f"{directory}/queue/rotational") == "1",
        "removable": _text(f"{directory}/removable") == "1",
        "read_only": _text(f"{directory}/ro") == "1",
        "health": _health(directory),
    }


def _health(directory: str) -> dict[str, Json]:
    """What sysfs knows without asking the disk: its state, errors counted, warmth."""
    found: dict[str, Json] = {"state": _text(f"{directory}/device/state") or "unknown"}
    errors = _text(f"{directory}/device/ioerr_cnt")
    if errors:
        found["io_errors"] = int(errors, 0)
    for place in (f"{directory}/device/hwmon", f"{directory}/device"):
        for entry in entries(place):
            warmth = _text(f"{place}/{entry}/temp1_input") if entry.startswith("hwmon") else ""
            if warmth.isdecimal():
                found["temperature_c"] = int(warmth) / 1000
    return found


def _content(
    name: str, dev: str, mounts: Sequence[MountEntry], state: State | None
) -> dict[str, Json]:
    """What is on a device: file system, where it is mounted, how full. Empty fields: unknown."""
    device = device_of(name, dev)
    volume = read_volume(device)
    found: dict[str, Json] = {
        "filesystem": volume.superblock.fstype if volume else "",
        "label": volume.superblock.label if volume else "",
        "uuid": volume.superblock.uuid if volume else "",
        "is_state": state is not None and bool(state.device) and _same(state.device, device),
        "mounts": [],
    }
    targets = [str(entry.target) for entry in mounts if _same(entry.source, device)]
    shown: list[Json] = [*dict.fromkeys(targets)]
    found["mounts"] = shown[:MAX_MOUNTS]
    if targets:
        try:
            numbers = os.statvfs(targets[0])
        except OSError:
            return found
        found["total_bytes"] = numbers.f_blocks * numbers.f_frsize
        found["used_bytes"] = (numbers.f_blocks - numbers.f_bfree) * numbers.f_frsize
        found["read_only"] = bool(numbers.f_flag & os.ST_RDONLY)
    return found


def _same(one: str, other: str) -> bool:
    return one == other or (one.startswith("/") and os.path.realpath(one) == other)


def _uevent(directory: str) -> Mapping[str, str]:
    lines = _text(f"{directory}/uevent").splitlines()
    return dict(line.partition("=")[::2] for line in lines)


def _number(path: str) -> int:
    text = _text(path)
    return int(text) if text.isdecimal() else 0


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return ""
