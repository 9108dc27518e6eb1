"""`orlop.swap.devices`, and `mounts` of type swap: disks and partitions that the kernel swaps to.

Only what says of itself that it is a swap area is used: nothing is written that makes it one. A
disk that is not there yet is waited for as long as one of `mounts`.
"""

from __future__ import annotations

import asyncio
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib import atomic_file, linux
from orlop.lib.blocking import run_bounded
from orlop.system.storage import block_devices, swap
from orlop.system.storage.mounts import resolve
from orlop.wire.config.mounts import SWAP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.system.storage.block_devices import Volume
    from orlop.wire.compose_model import Json

IN_USE = "/run/orlop/swap-devices"
TIMEOUT_S = 60.0


def wanted(devices: Json, mounts: Json) -> list[str]:
    """The devices that the two keys, as the worker has checked them, stand for."""
    found = [str(device) for device in devices] if isinstance(devices, list) else []
    for entry in mounts if isinstance(mounts, list) else []:
        device, _, fstype, options = map(str, entry if isinstance(entry, list) else [])
        if fstype == SWAP and "noauto" not in options.split(","):
            found.append(device)
    return list(dict.fromkeys(found))


async def apply(devices: Sequence[str], *, wait_s: float, record: str = IN_USE) -> dict[str, str]:
    """Swap to *devices*, and no more to those of before that are not among them.

    Returns those that cannot be used, and why.
    """
    problems: dict[str, str] = {}
    volumes = await _find(devices, wait_s) if devices else []
    found: dict[str, str] = {}
    for device in devices:
        volume = resolve(device, volumes)
        if volume is None:
            there = os.path.exists(device)
            problems[device] = "is no swap area" if there else "is not there"
        else:
            found[volume.device] = device
    before = _read(record)
    for path in before:
        if path not in found and swap.is_in_use(path):
            await _change(partial(linux.swapoff, path), path, problems)
    for path, device in found.items():
        if not swap.is_in_use(path):
            await _change(partial(linux.swapon, path), device, problems)
    in_use = [path for path in found if swap.is_in_use(path)]
    if in_use != before:
        text = "".join(f"{path}\n" for path in in_use)
        atomic_file.write_text(Path(record), text, mode=0o600, durable=False)
    return problems


async def _change(call: partial[None], name: str, problems: dict[str, str]) -> None:
    try:
        await run_bounded(call, TIMEOUT_S)
    except TimeoutError:
        problems[name] = f"no answer within {TIMEOUT_S:g} s"
    except OSError as error:
        problems[name] = error.strerror or str(error)


async def _find(devices: Sequence[str], wait_s: float) -> list[Volume]:
    with block_devices.announcements() as announced:
        volumes = await _areas()
        try:
            async with asyncio.timeout(wait_s):
                while any(resolve(d, volumes) is None and not os.path.exists(d) for d in devices):
                    await announced.wait_block_device()
                    volumes = await _areas()
        except TimeoutError:
            pass
    return volumes


async def _areas() -> list[Volume]:
    volumes = await block_devices.probe(block_devices.candidates())
    return [volume for volume in volumes if volume.superblock.fstype == SWAP]


def _read(record: str) -> list[str]:
    try:
        return Path(record).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
