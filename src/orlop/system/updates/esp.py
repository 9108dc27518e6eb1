"""The EFI system partition, mounted for as long as somebody needs it.

A normal boot never touches it. It is the one labelled ORLOP_ESP, of several that on the disk of the
state partition. A state on a mirror has one beside each half, kept alike (`updates.esp_mirror`).
"""

from __future__ import annotations

import logging
import os
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib import boot_files, boot_record, mount
from orlop.lib.blocking import run_bounded
from orlop.lib.disk_ids import entries, read_text
from orlop.lib.errors import OrlopError, Unavailable
from orlop.lib.mount import MountFlag
from orlop.system.storage import mirror
from orlop.system.storage.block_devices import SYS_BLOCK, candidates, kernel_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from orlop.system.storage.mirror import Mirror

log = logging.getLogger(__name__)

LABEL = b"ORLOP_ESP  "
_NAMED = "PARTNAME=orlop-esp"
_LABEL_OFFSET, _TYPE_OFFSET = 71, 82
TARGET, OTHER = Path("/run/orlop/esp"), Path("/run/orlop/esp-mirror")
DEVICES = "/dev"
OPTIONS = "umask=0077,errors=continue"
"""After a power cut the folder may have what was being written, without all of its clusters. It is
removed first of all: an error about that must not keep what follows from the disk. What counts is
read back and compared."""
TIMEOUT_S = 60.0
EQUALISE_TIMEOUT_S = 600.0
"""To copy some images to a slow disk, and read them back."""
_FLAGS = MountFlag.NOSUID | MountFlag.NODEV | MountFlag.NOEXEC | MountFlag.NOATIME


def find(state_device: str = "", sys_block: str = SYS_BLOCK, devices: str = DEVICES) -> str:
    """The device; empty if this machine has none. Reads a sector of each disk and partition."""
    found = [
        (_disks(sys_block, _name(device, devices)), device) for device in _every(sys_block, devices)
    ]
    own = _disks(sys_block, kernel_name(state_device)) if state_device else set()
    found.sort(key=lambda pair: not pair[0] & own)
    return found[0][1] if found else ""


def find_all(
    state_device: str = "", sys_block: str = SYS_BLOCK, devices: str = DEVICES
) -> tuple[list[str], int]:
    """Those beside the halves of the state's mirror, or as `find`; and how many, the first of them,
    are beside halves that are in use."""
    on = mirror.of_state(state_device, sys_block)
    found, trusted = ([], 0) if on is None else _beside(on, sys_block, devices)
    if not found and (device := find(state_device, sys_block, devices)):
        return [device], 1  # nor need a mirror be one that an installation has made
    return found, trusted


def _beside(on: Mirror, sys_block: str, devices: str) -> tuple[list[str], int]:
    places: dict[str, str] = {}
    for device in _every(sys_block, devices):
        places.update(dict.fromkeys(_disks(sys_block, _name(device, devices)), device))
    found, trusted = [], 0
    for part in mirror.members(on, sys_block, devices):
        for disk in _disks(sys_block, _name(part, devices)):
            if disk in places:
                found.append(places[disk])
                trusted += part in on.whole
    return found, trusted


def lost(state_device: str, sys_block: str = SYS_BLOCK, devices: str = DEVICES) -> list[str]:
    """Partitions beside halves of the state's mirror that are boot partitions by their name, but
    start nothing, while another does: their file system is destroyed."""
    from orlop.system.updates import esp_mirror

    on = mirror.of_state(state_device, sys_block)
    if on is None:
        return []
    found = [esp_mirror.look(d) for d in find_all(state_device, sys_block, devices)[0]]
    starting = {one.device for one in found if one.starts}
    named = [
        f"{devices}/{name.replace('!', '/')}"
        for part, kind in on.parts
        for disk in _disks(sys_block, _name(part, devices))
        for name in entries(disk)
        if kind != "faulty" and _NAMED in read_text(f"{disk}/{name}", "uevent").splitlines()
    ]
    return [device for device in named if device not in starting] if starting else []


def _every(sys_block: str = SYS_BLOCK, devices: str = DEVICES) -> list[str]:
    found = [f"{devices}/{name.replace('!', '/')}" for name in candidates(sys_block)]
    return [device for device in found if _is_esp(device)]


def _name(device: str, devices: str) -> str:
    return device.removeprefix(f"{devices}/").replace("/", "!")


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
    """Where it is mounted while the block runs. On a mirror the others are made like it after that.

    Raises:
        Unavailable: there is none, it does not answer, or cannot be mounted.
    """
    try:
        found = await run_bounded(partial(_in_order, state_device), TIMEOUT_S)
        if not found:
            raise Unavailable(
                "Orlop is not installed on this machine: no disk has a partition ORLOP_ESP",
                hint="orlop install",
            )
        device = await run_bounded(partial(_mount_first, found, write=write), TIMEOUT_S)
    except TimeoutError:
        raise Unavailable("the EFI system partition does not answer") from None
    try:
        yield TARGET
    finally:
        # What was written is on the disk with the end of this.
        try:
            for other in found if write else ():
                if other != device:
                    await _equalise(other)
        finally:
            await run_bounded(partial(mount.detach, TARGET), TIMEOUT_S)


def _in_order(state_device: str) -> list[str]:
    """As `find_all`, that first which the others are to be like; without a state all there are,
    that first on which a trial has been begun."""
    found, trusted = find_all(state_device) if state_device else (_every(), 0)
    if len(found) < 2:
        return found
    from orlop.system.updates import esp_mirror

    if not state_device:
        return sorted(found, key=lambda device: not esp_mirror.look(device).on_trial)
    standings = esp_mirror.in_order([esp_mirror.look(device) for device in found], trusted)
    first, *others = standings
    if sequence := esp_mirror.mark_to_adopt(first, others):
        try:
            _mount(first.device, TARGET, write=True)
            try:
                boot_record.write_tried(TARGET / boot_files.FOLDER, sequence)
            finally:
                mount.detach(TARGET)
        except (OrlopError, OSError) as error:
            log.error("%s cannot be written to: %s", first.device, error)
            standings = [*others, first]
    return [one.device for one in standings]


def _mount_first(found: list[str], *, write: bool) -> str:
    """Mount the first that can be mounted.

    Raises:
        Unavailable: none can.
    """
    problem = ""
    for device in found:
        try:
            _mount(device, TARGET, write=write)
        except OSError as error:
            problem = problem or f"cannot mount {device}: {error.strerror}"
        else:
            return device
    raise Unavailable(problem)


@contextmanager
def _other(device: str, *, write: bool) -> Iterator[None]:
    _mount(device, OTHER, write=write)
    try:
        yield
    finally:
        mount.detach(OTHER)


async def _equalise(device: str) -> None:
    """Make *device* like the one that is mounted. Never raises: an update does not fail by it."""
    from orlop.system.updates import esp_mirror

    def work() -> None:
        with _other(device, write=True):
            esp_mirror.equalise(TARGET, OTHER)

    try:
        await run_bounded(work, EQUALISE_TIMEOUT_S)
    except (OrlopError, OSError, TimeoutError) as error:
        log.error("%s is not like the other EFI system partition: %s", device, error)


async def mend_others(state_device: str) -> dict[str, str]:
    """While the block of `mounted` runs: what was wrong with the others, by device, or nothing."""
    from orlop.system.updates import esp_mirror

    def work() -> dict[str, str]:
        own = [entry.source for entry in mount.read_mounts() if entry.target == TARGET]
        found: dict[str, str] = {}
        for device in find_all(state_device)[0]:
            if device in own:
                continue
            found[device] = ""
            with _other(device, write=False):
                paths = esp_mirror.damaged(TARGET, OTHER)
            if paths:
                with _other(device, write=True):
                    esp_mirror.mend(TARGET, OTHER, paths)
                    left = esp_mirror.damaged(TARGET, OTHER)
                names = ", ".join(map(os.path.basename, left or paths))
                found[device] = f"{names} {'is' if left else 'was'} damaged"
                found[device] += "" if left else ", and is copied anew"
        return found

    try:
        return await run_bounded(work, EQUALISE_TIMEOUT_S)
    except (OrlopError, OSError, TimeoutError) as error:
        return {"of the other disk": str(error) or "does not answer"}


async def differing(state_device: str) -> list[str]:
    """Those on the mirror that are not like the first, or `lost`; asked without a mount.

    Raises:
        TimeoutError: a disk does not answer.
    """

    def work() -> list[str]:
        from orlop.system.updates import esp_mirror

        found, trusted = find_all(state_device)
        gone = lost(state_device)
        if len(found) < 2:
            return gone
        first, *others = esp_mirror.in_order([esp_mirror.look(d) for d in found], trusted)
        unlike = [o.device for o in others if not esp_mirror.are_alike((first, o))]
        return [*dict.fromkeys((*unlike, *gone))]

    return await run_bounded(work, TIMEOUT_S)


def _mount(device: str, target: Path, *, write: bool) -> None:
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    mount.detach(target)
    flags = _FLAGS if write else _FLAGS | MountFlag.RDONLY
    mount.mount(device, target, "vfat", flags, OPTIONS)


async def give_back_clusters(state_device: str) -> None:
    """Give back the room that a power cut has left to no file; none must be mounted."""
    from orlop.lib import fat_orphans

    try:
        for device in (await run_bounded(partial(find_all, state_device), TIMEOUT_S))[0]:
            number = await run_bounded(partial(fat_orphans.give_back, device), TIMEOUT_S)
            log.info("%d clusters of %s belonged to no file", number, device)
    except (OrlopError, OSError, TimeoutError) as error:
        log.warning("cannot look for lost clusters of the EFI system partition: %s", error)
