"""Puts disks together of which a file system may be a part: software RAID, volume groups.

With the programs of the extras, and only what says of itself that it is such a part and is not in
use yet. An array of which a disk is missing is started only when nobody waits for that any more.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from orlop.lib.disk_ids import read_text
from orlop.lib.errors import OrlopError
from orlop.system.storage import block_devices, extras
from orlop.system.storage.superblock import LVM, PARTS, RAID

if TYPE_CHECKING:
    from collections.abc import Sequence

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
MDADM_DIRECTORY = "/run/mdadm"
"""Where mdadm notes what it has started."""

LVM_LOCKS = "/run/lock/lvm"
_LVM_CONFIG = "activation { monitoring=0 } backup { backup=0 archive=0 }"


def idle_parts(volumes: Sequence[Volume], sys_block: str = block_devices.SYS_BLOCK) -> list[Volume]:
    """Those of *volumes* that belong to something larger, which they are not part of yet."""
    return [v for v in volumes if v.superblock.fstype in PARTS and not _is_held(v, sys_block)]


def _is_held(volume: Volume, sys_block: str) -> bool:
    name = os.path.basename(volume.device)
    try:
        return bool(os.listdir(f"{sys_block}/{name}/holders"))
    except OSError:
        return False


async def assemble(children: Children) -> list[str]:
    """Start the arrays, then the volume groups, which may be on arrays; what failed, in words.

    An array that lacks disks is started when they have not come within `WAIT_S`.
    """
    problems: list[str] = []
    try:
        await _start_arrays(children)
        await _start_volumes(children)
    except OrlopError as error:
        problems.append(f"disks that belong together cannot be used: {error}")
        log.info("%s", problems[-1])
    return problems


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
    volumes = await _idle(RAID)
    if volumes:
        await extras.load_modules(children, RAID_MODULES)
        os.makedirs(MDADM_DIRECTORY, mode=0o700, exist_ok=True)
    for volume in volumes:
        command = [extras.program("mdadm"), "--incremental", volume.device]
        _, output = await children.run(command, env=extras.ENVIRONMENT, timeout_s=TIMEOUT_S)
        log.info("%s", output.decode(errors="replace").strip())
    return bool(volumes)


def _incomplete_arrays(sys_block: str = block_devices.SYS_BLOCK) -> list[str]:
    names = block_devices.candidates(sys_block)
    return [n for n in names if read_text(f"{sys_block}/{n}/md", "array_state") == "inactive"]


async def _start_volumes(children: Children) -> None:
    if await _idle(LVM):
        await extras.load_modules(children, LVM_MODULES)
        os.makedirs(LVM_LOCKS, mode=0o700, exist_ok=True)
        arguments = ("--activate", "y", "--config", _LVM_CONFIG)
        output = await extras.run(children, "vgchange", *arguments, timeout_s=TIMEOUT_S)
        log.info("%s", output.decode(errors="replace").strip())


async def _idle(kind: str) -> list[Volume]:
    volumes = idle_parts(await block_devices.probe(block_devices.candidates()))
    return [volume for volume in volumes if volume.superblock.fstype == kind]
