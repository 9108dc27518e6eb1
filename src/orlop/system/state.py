"""The state partition: finding it, checking it, mounting it at /var, or going on without it.

Nothing about a disk may stop the boot. A partition that is missing, damaged, read-only or silent
leads to a /var in memory and to a warning that says so on the console and in the status. A
partition that can be read but not written is mounted read-only aside, so that the configuration on
it, with the keys to log in, still counts.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from orlop.lib.blocking import run_bounded
from orlop.lib.mount import MountFlag, mount, read_mounts
from orlop.system import block_devices
from orlop.system.filesystems import VOLATILE_STATE, Directory, make_directory, mount_one

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from orlop.lib.children import Children
    from orlop.system.block_devices import Volume
    from orlop.system.parameters import Parameters

DEFAULT_STATE = "LABEL=ORLOP_STATE"
TARGET = "/var"
DEVICES = "/dev"
READ_ONLY_TARGET = "/run/orlop/state"

CHECKER = "/usr/sbin/e2fsck"
CHECK_TIMEOUT_S, CHECK_KILL_S = 300.0, 5.0
PLUG_AGAIN_S = 1.0
MOUNT_TIMEOUT_S = 60.0
"""Long enough to replay the journal of a slow, large disk."""

_FLAGS = MountFlag.NOSUID | MountFlag.NODEV | MountFlag.NOEXEC | MountFlag.NOATIME

_OPTIONS = {
    # An error makes it read-only instead of going on with what may be garbage.
    "ext4": "errors=remount-ro",
    "xfs": "",
    "btrfs": "",
}

DIRECTORIES = (
    Directory("/var/lib"),
    Directory("/var/lib/orlop"),
    Directory("/var/lib/orlop/conf.d", 0o700),
    Directory("/var/lib/orlop/services", 0o700),
    Directory("/var/lib/orlop/engine", 0o700),
    Directory("/var/lib/orlop/root", 0o700),
    Directory("/var/lib/orlop/home"),
    Directory("/var/lib/orlop/user", 0o711),
    Directory("/var/log"),
    Directory("/var/tmp", 0o1777),
)


@dataclass(frozen=True, slots=True)
class State:
    """What /var is. *root* is where configuration is read from: /var, or a read-only disk aside."""

    mode: str
    """`disk`, or `memory`: lost at the next boot."""
    root: str = TARGET
    device: str = ""
    fstype: str = ""
    label: str = ""
    uuid: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """The volume to use, if there is one, and what to say about the choice."""

    volume: Volume | None
    warnings: tuple[str, ...] = ()


def choose(wanted: str, volumes: Sequence[Volume]) -> Choice:
    """Pick the volume that *wanted* (`LABEL=`, `UUID=` or a device) means; pure."""
    kind, _, value = wanted.partition("=")
    match kind:
        case "LABEL":
            found = [volume for volume in volumes if volume.superblock.label == value]
        case "UUID":
            found = [v for v in volumes if v.superblock.uuid == value.lower()]
        case _:
            found = [volume for volume in volumes if volume.device == wanted]
    if not found:
        return Choice(None)
    if len(found) > 1:
        names = ", ".join(volume.device for volume in found)
        return Choice(found[0], (f"several disks are {wanted} ({names}); using the first",))
    return Choice(found[0])


async def find(
    parameters: Parameters,
    cold_plug: Awaitable[object],
    plug_again: Callable[[], Awaitable[None]],
) -> Choice:
    """Look for the state partition; *cold_plug* ends when the drivers of present disks are loaded.

    Waits for a disk to appear only when the command line names one, and then calls *plug_again* now
    and then: before there is a devices service, nobody else loads the driver of a late disk.
    """
    if parameters.state == "none":
        return Choice(None)
    wanted = parameters.state or DEFAULT_STATE
    with block_devices.announcements() as announced:
        choice = await _look(wanted)
        if choice.volume is None:
            await cold_plug
            choice = await _look(wanted)
        if choice.volume is not None or parameters.state is None:
            return choice
        try:
            async with asyncio.timeout(parameters.state_wait_s):
                while choice.volume is None:
                    try:
                        async with asyncio.timeout(PLUG_AGAIN_S):
                            await announced.wait_block_device()
                    except TimeoutError:
                        await plug_again()
                    choice = await _look(wanted)
        except TimeoutError:
            text = f"no disk is {wanted} after {parameters.state_wait_s} s"
            return Choice(None, (text,))
        return choice


async def _look(wanted: str) -> Choice:
    return choose(wanted, await block_devices.probe(block_devices.candidates()))


async def mount_state(choice: Choice, children: Children) -> State:
    """Mount what was chosen, or memory; makes the directories that the system expects in /var."""
    warnings = list(choice.warnings)
    state = None
    if choice.volume is not None:
        state = await _mount_disk(choice.volume, children, warnings)
    if state is None or state.mode == "memory":
        try:
            mount_one(VOLATILE_STATE)
        except OSError as error:
            warnings.append(f"cannot mount a memory file system at /var: {error.strerror}")
    warnings += _make_directories()
    if state is None:
        return State("memory", warnings=tuple(warnings))
    return State(
        state.mode,
        state.root,
        state.device,
        state.fstype,
        state.label,
        state.uuid,
        tuple(warnings),
    )


async def _mount_disk(volume: Volume, children: Children, warnings: list[str]) -> State | None:
    superblock = volume.superblock
    identity = (volume.device, superblock.fstype, superblock.label, superblock.uuid)
    if not superblock.clean:
        warnings += await _check(volume, children)
    problem = await _try_mount(volume, TARGET, MountFlag(0))
    if problem and superblock.clean and superblock.fstype == "ext4":
        warnings += await _check(volume, children)
        problem = await _try_mount(volume, TARGET, MountFlag(0))
    if not problem:
        return State("disk", TARGET, *identity)
    if not await _try_mount(volume, READ_ONLY_TARGET, MountFlag.RDONLY):
        warnings.append(
            f"state partition {volume.device} is read-only here ({problem}): "
            "/var is in memory, configuration is read from the disk"
        )
        return State("memory", READ_ONLY_TARGET, *identity)
    warnings.append(
        f"state partition {volume.device} cannot be used ({problem}): /var is in memory"
    )
    return State("memory", TARGET, *identity)


async def _try_mount(volume: Volume, target: str, extra: MountFlag) -> str:
    """Mount *volume* at *target*; why it did not work, or nothing."""
    fstype = volume.superblock.fstype
    try:
        os.makedirs(target, exist_ok=True)
        await run_bounded(
            partial(mount, volume.device, target, fstype, _FLAGS | extra, _OPTIONS[fstype]),
            MOUNT_TIMEOUT_S,
        )
    except TimeoutError:
        return f"no answer within {MOUNT_TIMEOUT_S:g} s"
    except OSError as error:
        return error.strerror or str(error)
    return ""


async def _check(volume: Volume, children: Children) -> list[str]:
    """Let e2fsck repair what it can without asking; what came of it, when that is worth saying."""
    if volume.superblock.fstype != "ext4" or not os.path.exists(CHECKER):
        return []
    from orlop.lib.errors import OrlopError

    try:
        # A program that waits for a dead disk cannot even be killed.
        async with asyncio.timeout(CHECK_TIMEOUT_S + CHECK_KILL_S):
            command = [CHECKER, "-p", volume.device]
            status, _ = await children.run(command, timeout_s=CHECK_TIMEOUT_S)
    except TimeoutError:
        return [f"checking {volume.device}: no answer within {CHECK_TIMEOUT_S:g} s"]
    except OrlopError as error:
        return [f"checking {volume.device}: {error}"]
    if status.code & 4:
        return [f"{volume.device} has errors that e2fsck does not mend by itself"]
    if status.code & 1:
        return [f"{volume.device} had errors, which e2fsck has mended"]
    return []


async def present() -> State:
    """What /var is by the mount table: after a re-execution of PID 1."""
    for entry in reversed(read_mounts()):
        if os.fspath(entry.target) != TARGET:
            continue
        if entry.fstype not in _OPTIONS:
            break
        names = [entry.source.removeprefix(f"{DEVICES}/")]
        volume = next(iter(await block_devices.probe(names, DEVICES)), None)
        if volume is None:
            return State("disk", TARGET, entry.source, entry.fstype)
        superblock = volume.superblock
        identity = (superblock.fstype, superblock.label, superblock.uuid)
        return State("disk", TARGET, entry.source, *identity)
    return State("memory")


def _make_directories() -> list[str]:
    """Ensure the directories; a full or failing disk is reported, not fatal."""
    failures: list[str] = []
    for directory in DIRECTORIES:
        try:
            make_directory(directory)
        except OSError as error:
            failures.append(f"cannot make {directory.path}: {error.strerror}")
    return failures
