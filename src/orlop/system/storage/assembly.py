"""Puts disks together of which a file system may be a part: software RAID, volume groups.

With the programs of the extras, and only what says of itself that it is such a part and is not in
use yet. That may be another machine's: nothing is written to a part before what is looked for has
been found there. Arrays start read-only until somebody writes to them, volumes are activated
read-only, and what holds nothing of what is looked for is taken apart again. An array of which a
disk is missing is started only when nobody waits for that any more.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib.blocking import run_bounded
from orlop.lib.disk_ids import entries, read_text
from orlop.lib.errors import OrlopError
from orlop.system.storage import block_devices, extras, halves
from orlop.system.storage.superblock import LVM, PARTS, RAID

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from orlop.lib.children import Children
    from orlop.system.storage.block_devices import Volume

log = logging.getLogger(__name__)

TIMEOUT_S = 120.0
WAIT_S = 10.0
"""As long as other disks are waited for."""

RAID_MODULES = ("md_mod", "raid0", "raid1", "raid10", "raid456")
LVM_MODULES = (
    *("dm_mod", "dm_cache_smq", "dm_cache", "dm_mirror", "dm_raid", "dm_snapshot"),
    *("dm_thin_pool", "dm_writecache"),
)
START_READ_ONLY = "/sys/module/md_mod/parameters/start_ro"
"""An array that has been started is written to, its disks too, when something writes to it."""

SYS_NUMBERS = "/sys/dev/block"
MDADM_DIRECTORY = "/run/mdadm"
"""Where mdadm notes what it has started."""

LVM_LOCKS = "/run/lock/lvm"
_LVM_CONFIG = "activation/monitoring=0 backup/backup=0 backup/archive=0"
_READ_ONLY = 'activation/read_only_volume_list=["{name}"]'
_GROUP = re.compile(r"^\s*(\w{6}(?:-\w{4}){5}-\w{6})\s+([\w.+-]+)\s*$", re.ASCII | re.MULTILINE)
_LIST = ("--noheadings", "--options")

type Find = Callable[[], Awaitable[Collection[str]]]
"""Gives the devices of what is looked for, as far as they are there."""


def idle_parts(volumes: Sequence[Volume], sys_block: str = block_devices.SYS_BLOCK) -> list[Volume]:
    """Those of *volumes* that belong to something larger, which they are not part of yet."""
    return [
        volume
        for volume in volumes
        if volume.superblock.fstype in PARTS
        and not entries(f"{sys_block}/{os.path.basename(volume.device)}/holders")
    ]


async def assemble(children: Children, find: Find, tried: set[str] | None = None) -> list[str]:
    """Start what *find* finds something on, which gives devices; what failed, in words.

    First the arrays, then the volume groups, which may be on arrays. An array that lacks disks is
    started when they have not come within `WAIT_S`. Nothing is done where all parts are in *tried*,
    to which they are added.
    """
    problems: list[str] = []
    parts = {v.device for v in idle_parts(await block_devices.probe(block_devices.candidates()))}
    if tried is not None:
        if parts <= tried:
            return []
        tried |= parts
    before = _arrays()
    try:
        await _start_arrays(children)
        await _start_groups(children, find)
    except OrlopError as error:
        problems.append(f"disks that belong together cannot be used: {error}")
        log.info("%s", problems[-1])
    await _stop_unwanted(children, set(_arrays()) - set(before), await _find_names(find))
    return problems


async def _find_names(find: Find) -> set[str]:
    """The kernel's names of what is wanted and there."""
    return {os.path.basename(os.path.realpath(device)) for device in await find()}


async def _start_arrays(children: Children) -> None:
    with block_devices.announcements() as announced:
        if not await _add_to_arrays(children):
            return
        try:
            async with asyncio.timeout(WAIT_S):
                while _incomplete_arrays():
                    await announced.wait_block_device()
                    await _add_to_arrays(children)
        except TimeoutError:
            waiting = ", ".join(_incomplete_arrays())
            log.warning("starting without disks that have not come: %s", waiting)
            await extras.run(children, "mdadm", "--incremental", "--run", "--scan")


async def _add_to_arrays(children: Children) -> bool:
    """Give each part that is there to its array, which starts with the last; whether there is one.

    mdadm's exit status does not say whether something is wrong: what it did is looked at.
    """
    found = await _all(RAID)
    idle = {volume.device for volume in idle_parts(found)}
    apart = await _left_alone([volume.device for volume in found], idle)
    volumes = [v for v in found if v.device in idle and v.device not in apart]
    if volumes:
        await extras.load_modules(children, RAID_MODULES)
        Path(START_READ_ONLY).write_text("1", encoding="ascii")
        os.makedirs(MDADM_DIRECTORY, mode=0o700, exist_ok=True)
    for volume in volumes:
        command = [extras.program("mdadm"), "--incremental", volume.device]
        _, output = await children.run(command, env=extras.ENVIRONMENT, timeout_s=TIMEOUT_S)
        log.info("%s", output.decode(errors="replace").strip())
    return bool(volumes)


async def _left_alone(parts: Sequence[str], idle: Collection[str]) -> set[str]:
    """Those of *parts* that were used without a half that counts; noted for whoever asks.

    mdadm and the kernel would take the one with more events for the newer one, and two that have
    as many for the same.
    """
    reading = [run_bounded(partial(halves.read, d), block_devices.PROBE_TIMEOUT_S) for d in parts]
    answers = await asyncio.gather(*reading, return_exceptions=True)
    known = [half for half in answers if isinstance(half, halves.Half)]
    parted = halves.sort_out(known, {part for part in parts if part not in idle})
    for half, first in parted:
        log.warning("%s and %s were used one without the other", half.device, first.device)
    with suppress(OSError):
        halves.note(parted)
    return {half.device for half, _ in parted}


def _arrays(sys_block: str = block_devices.SYS_BLOCK) -> list[str]:
    names = block_devices.candidates(sys_block)
    return [name for name in names if os.path.isdir(f"{sys_block}/{name}/md")]


def _incomplete_arrays(sys_block: str = block_devices.SYS_BLOCK) -> list[str]:
    names = _arrays(sys_block)
    return [n for n in names if read_text(f"{sys_block}/{n}/md", "array_state") == "inactive"]


async def _stop_unwanted(children: Children, arrays: set[str], wanted: set[str]) -> None:
    """Take *arrays* apart on which nothing is *wanted*, and nothing else."""
    left = {name for name in arrays if not wanted.intersection(with_partitions(name))}
    while free := {name for name in left if not is_held(name)}:
        left -= free
        for name in sorted(free):
            try:
                await extras.run(children, "mdadm", "--stop", f"/dev/{name}")
                log.info("%s has been stopped: nothing on it is looked for", name)
            except OrlopError as error:
                log.warning("%s, on which nothing is looked for: %s", name, error)


def with_partitions(name: str, sys_block: str = block_devices.SYS_BLOCK) -> list[str]:
    """The disk *name* and its partitions."""
    return [name, *(n for n in entries(f"{sys_block}/{name}") if n.startswith(name))]


def is_held(name: str, sys_block: str = block_devices.SYS_BLOCK) -> bool:
    """Whether something larger is on the disk *name*, or a partition of it."""
    names = with_partitions(name, sys_block)
    return any(entries(f"{sys_block}/{name}/holders") for name in names)


async def _start_groups(children: Children, find: Find) -> None:
    """One by one: those of two machines may have the same names."""
    if not await _idle(LVM):
        return
    await extras.load_modules(children, LVM_MODULES)
    os.makedirs(LVM_LOCKS, mode=0o700, exist_ok=True)
    groups = await _lvm(children, "vgs", *_LIST, "vg_uuid,vg_name")
    active = await _lvm(children, "lvs", *_LIST, "vg_uuid", "-S", "lv_active=active")
    for uuid, name in idle_groups(groups.decode(errors="replace"), active.decode(errors="replace")):
        before = set(block_devices.candidates())
        await _activate(children, uuid, "y", _READ_ONLY.format(name=name))
        volumes = set(block_devices.candidates()) - before
        is_wanted = bool(volumes & await _find_names(find))
        await _activate(children, uuid, "n")
        if is_wanted:
            await _activate(children, uuid, "y")


async def open_group(children: Children, device: str) -> list[Volume]:
    """Start the volume group that is on *device*, and on it alone, whatever other disks say of
    theirs; its volumes.

    Raises:
        OrlopError: it cannot be started.
    """
    await extras.load_modules(children, LVM_MODULES)
    os.makedirs(LVM_LOCKS, mode=0o700, exist_ok=True)
    await _lvm(children, "vgchange", "--activate", "y", "--devices", device)
    number = os.stat(device).st_rdev
    holders = entries(f"{SYS_NUMBERS}/{os.major(number)}:{os.minor(number)}/holders")
    return await block_devices.probe(sorted(holders))


def idle_groups(groups: str, active: str) -> list[tuple[str, str]]:
    """UUID and name of those *groups* of which no volume is *active*, from what lvm lists; pure."""
    used = set(active.split())
    return [(uuid, name) for uuid, name in _GROUP.findall(groups) if uuid not in used]


async def _activate(children: Children, uuid: str, how: str, more: str = "") -> None:
    """Of a group from which disks are missing the rest can be used: that is no failure."""
    try:
        await _lvm(children, "vgchange", "--activate", how, "-S", f"vg_uuid={uuid}", config=more)
    except OrlopError as error:
        log.warning("%s", error)


async def _lvm(children: Children, program: str, *arguments: str, config: str = "") -> bytes:
    words = (*arguments, "--config", f"{_LVM_CONFIG} {config}")
    output = await extras.run(children, program, *words, timeout_s=TIMEOUT_S)
    log.info("%s", output.decode(errors="replace").strip())
    return output


async def _idle(kind: str) -> list[Volume]:
    return idle_parts(await _all(kind))


async def _all(kind: str) -> list[Volume]:
    volumes = await block_devices.probe(block_devices.candidates())
    return [volume for volume in volumes if volume.superblock.fstype == kind]
