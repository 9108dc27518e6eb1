"""The EFI system partition, mounted for as long as somebody needs it.

A normal boot never touches it. It is the one labelled ORLOP_ESP, of several that on the disk of the
state partition.
"""

from __future__ import annotations

import logging
import os
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib import mount
from orlop.lib.blocking import run_bounded
from orlop.lib.errors import OrlopError, Unavailable
from orlop.lib.mount import MountFlag
from orlop.system.storage.block_devices import SYS_BLOCK, candidates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

log = logging.getLogger(__name__)

LABEL = b"ORLOP_ESP  "
_LABEL_OFFSET, _TYPE_OFFSET = 71, 82
TARGET = Path("/run/orlop/esp")
DEVICES = "/dev"
OPTIONS = "umask=0077,errors=continue"
"""After a power cut the folder may have what was being written, without all of its clusters. It is
removed first of all: an error about that must not keep what follows from the disk. What counts is
read back and compared."""
TIMEOUT_S = 60.0
_FLAGS = MountFlag.NOSUID | MountFlag.NODEV | MountFlag.NOEXEC | MountFlag.NOATIME


def find(state_device: str = "", sys_block: str = SYS_BLOCK, devices: str = DEVICES) -> str:
    """The device; empty if this machine has none. Reads a sector of each disk and partition."""
    found = []
    for name in candidates(sys_block):
        device = f"{devices}/{name.replace('!', '/')}"
        if _is_esp(device):
            found.append((_disks(sys_block, name), device))
    state = os.path.basename(os.path.realpath(state_device)) if state_device else ""
    own = _disks(sys_block, state)
    found.sort(key=lambda pair: not pair[0] & own)
    return found[0][1] if found else ""


def _is_esp(device: str) -> bool:
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        head = os.pread(descriptor, 512, 0)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    label = head[_LABEL_OFFSET : _LABEL_OFFSET + len(LABEL)]
    return label == LABEL and head[_TYPE_OFFSET:].startswith(b"FAT32")


def _disks(sys_block: str, name: str) -> set[str]:
    """The disks that partition *name* is on; it may be encrypted, or made of several."""
    try:
        below = os.listdir(f"{sys_block}/{name}/slaves")
    except OSError:
        below = []
    if below:
        return {disk for part in below for disk in _disks(sys_block, part)}
    return {os.path.dirname(os.path.realpath(f"{sys_block}/{name}"))}


@asynccontextmanager
async def mounted(state_device: str, *, write: bool) -> AsyncIterator[Path]:
    """Where it is mounted while the block runs.

    Raises:
        Unavailable: there is none, it does not answer, or cannot be mounted.
    """
    device = ""
    try:
        device = await run_bounded(partial(find, state_device), TIMEOUT_S)
        if not device:
            raise Unavailable(
                "Orlop is not installed on this machine: no disk has a partition ORLOP_ESP",
                hint="orlop install",
            )
        await run_bounded(partial(_mount, device, write=write), TIMEOUT_S)
    except TimeoutError:
        raise Unavailable("the EFI system partition does not answer") from None
    except OSError as error:
        raise Unavailable(f"cannot mount {device}: {error.strerror}") from error
    try:
        yield TARGET
    finally:
        # What was written is on the disk with the end of this.
        await run_bounded(partial(mount.detach, TARGET), TIMEOUT_S)


def _mount(device: str, *, write: bool) -> None:
    TARGET.mkdir(mode=0o700, parents=True, exist_ok=True)
    mount.detach(TARGET)
    flags = _FLAGS if write else _FLAGS | MountFlag.RDONLY
    mount.mount(device, TARGET, "vfat", flags, OPTIONS)


async def give_back_clusters(state_device: str) -> None:
    """Give back the room that a power cut has left to no file; it must not be mounted."""
    from orlop.lib import fat_orphans

    try:
        if device := await run_bounded(partial(find, state_device), TIMEOUT_S):
            number = await run_bounded(partial(fat_orphans.give_back, device), TIMEOUT_S)
            log.info("%d clusters of %s belonged to no file", number, device)
    except (OrlopError, OSError, TimeoutError) as error:
        log.warning("cannot look for lost clusters of the EFI system partition: %s", error)
