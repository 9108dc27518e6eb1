"""The state partition: finding it, checking it, mounting it at /var, or going on without it.

Nothing about a disk may stop the boot. A partition that is missing, damaged, read-only or silent
leads to a /var in memory and to a warning that says so on the console and in the status. A
partition that can be read but not written is mounted read-only aside, so that the configuration on
it, with the keys to log in, still counts.
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from orlop.lib.blocking import run_bounded
from orlop.lib.mount import MountFlag, mount, read_mounts
from orlop.system.filesystems import VOLATILE_STATE, Directory, make_directory, mount_one
from orlop.system.storage import block_devices, disk_references
from orlop.system.storage.disk_references import Names
from orlop.system.storage.superblock import LUKS, LVM, PARTS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from orlop.lib.children import Children
    from orlop.system.parameters import Parameters
    from orlop.system.storage.block_devices import Volume

log = logging.getLogger(__name__)

DEFAULT_LABEL = "ORLOP_STATE"
DEFAULT_STATE = f"LABEL={DEFAULT_LABEL}"
TARGET = "/var"
DEVICES = "/dev"
READ_ONLY_TARGET = "/run/orlop/state"
WHOLE_TARGET = "/run/orlop/state-partition"
"""Where the partition is when only a directory of it is the state."""

CHECKER = "/usr/sbin/e2fsck"
CANNOT_OPEN = 8
"""In its exit status: it could do nothing."""
CHECK_TIMEOUT_S, CHECK_KILL_S = 300.0, 5.0
PLUG_AGAIN_S = 1.0
EXTRAS_WAIT_S = 15.0
MOUNT_TIMEOUT_S = 60.0
"""Long enough to replay the journal of a slow, large disk."""

_FLAGS = MountFlag.NOSUID | MountFlag.NODEV | MountFlag.NOEXEC | MountFlag.NOATIME

_NO_NAMES = Names()

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
    notes: tuple[str, ...] = ()
    """What is to be said, but does not end the looking."""

    @property
    def is_final(self) -> bool:
        """Whether nothing that may still appear would change it: a refusal stays one."""
        return self.volume is not None or bool(self.warnings)


def choose(
    wanted: str,
    volumes: Sequence[Volume],
    names: Mapping[str, Names] | None = None,
    fstype: str = "auto",
) -> Choice:
    """Pick the volume that *wanted* means, a reference of `storage.disk_references`; pure.

    *names* has what devices are called, where the reference needs it.
    """
    kind, value = disk_references.split(wanted)
    known = names or {}
    types = (*_OPTIONS, LUKS) if fstype == "auto" else (fstype, LUKS)
    usable = [volume for volume in volumes if volume.superblock.fstype in types]
    found = [
        volume
        for volume in usable
        if disk_references.matches(kind, value, volume, known.get(volume.device, _NO_NAMES))
    ]
    if not found:
        return Choice(None)
    if disk_references.needs_names(kind):
        found = disk_references.prefer(found, DEFAULT_LABEL)
    if len(found) > 1:
        devices = ", ".join(volume.device for volume in found)
        return Choice(found[0], (f"several disks are {wanted} ({devices}); using the first",))
    return Choice(found[0])


async def find(
    parameters: Parameters,
    cold_plug: Awaitable[object],
    plug_again: Callable[[], Awaitable[None]],
    children: Children,
) -> Choice:
    """Look for the state partition; *cold_plug* ends when the drivers of present disks are loaded.

    Waits for a disk to appear only when the command line names one, and then calls *plug_again* now
    and then: before there is a devices service, nobody else loads the driver of a late disk.
    """
    try:
        return await _find(parameters, cold_plug, plug_again, children)
    except Exception as error:
        log.exception("find the state partition")  # whatever it is, /var is mounted then
        return Choice(None, (f"cannot find the state partition: {error}",))


async def _find(
    parameters: Parameters,
    cold_plug: Awaitable[object],
    plug_again: Callable[[], Awaitable[None]],
    children: Children,
) -> Choice:
    if parameters.state == "none":
        return Choice(None)
    wanted, fstype = parameters.state or DEFAULT_STATE, parameters.state_fstype
    tried: set[str] = set()
    with block_devices.announcements() as announced:
        choice = await _look(wanted, fstype)
        if choice.volume is None:
            await cold_plug
            choice = await _look_or_format(parameters, children, tried)
        if choice.is_final or (parameters.state is None and not parameters.autoformat):
            return choice
        deadline = asyncio.get_running_loop().time() + parameters.state_wait_s
        limit = asyncio.timeout_at(deadline)
        try:
            async with limit:
                while not choice.is_final:
                    try:
                        async with asyncio.timeout(PLUG_AGAIN_S):
                            await announced.wait_block_device()
                    except TimeoutError:
                        await plug_again()
                    choice = await _look(wanted, fstype)
                    if choice.volume is None:
                        # What has begun to be formatted, or put together, is not given up.
                        limit.reschedule(None)
                        choice = await _look_or_format(parameters, children, tried)
                        limit.reschedule(deadline)
        except TimeoutError:
            named = parameters.state or ", ".join(parameters.autoformat)
            text = f"no disk is {named} after {parameters.state_wait_s} s"
            return Choice(None, (text,), choice.notes)
        return choice


async def _look(wanted: str, fstype: str) -> Choice:
    return await _look_among(await block_devices.probe(block_devices.candidates()), wanted, fstype)


async def _look_further(wanted: str, fstype: str, children: Children, tried: set[str]) -> Choice:
    """Also in what has to be put together first, unless all of that has been *tried*."""
    volumes = await block_devices.probe(block_devices.candidates())
    choice = await _look_among(volumes, wanted, fstype)
    if choice.volume is not None or not any(v.superblock.fstype in PARTS for v in volumes):
        return choice
    from orlop.system.storage import assembly

    async def find() -> list[str]:
        volume = (await _look(wanted, fstype)).volume
        return [volume.device] if volume else []

    said = await assembly.assemble(children, find, tried)
    return replace(await _look(wanted, fstype), notes=tuple(said))


async def _look_among(volumes: Sequence[Volume], wanted: str, fstype: str) -> Choice:
    if not disk_references.needs_names(disk_references.split(wanted)[0]):
        return choose(wanted, volumes, fstype=fstype)
    names = {volume.device: disk_references.read_names(volume.device) for volume in volumes}
    return choose(wanted, volumes, names, fstype)


async def _look_or_format(parameters: Parameters, children: Children, tried: set[str]) -> Choice:
    """Look once more, and then make what is missing."""
    wanted, fstype = parameters.state or DEFAULT_STATE, parameters.state_fstype
    choice = await _look_further(wanted, fstype, children, tried)
    if choice.volume is not None or not parameters.autoformat or parameters.recovery:
        return choice
    if parameters.state_sealed:
        return replace(choice, warnings=("nothing is formatted: orlop.state.sealed",))
    from orlop.system.storage import formatting

    kind = "ext4" if fstype == "auto" else fstype
    references = parameters.autoformat
    device, refused = await formatting.format_first(references, kind, children, wanted)
    if device is None:
        return Choice(None, tuple(refused))
    name = device.removeprefix(f"{DEVICES}/")
    volumes = await block_devices.probe([name])
    refused.append(f"{device} has been made the state partition: the disk was empty")
    return Choice(volumes[0] if volumes else None, tuple(refused))


async def mount_state(choice: Choice, children: Children, parameters: Parameters) -> State:
    """Mount what was chosen, or memory; makes the directories that the system expects in /var."""
    warnings = [*choice.warnings, *choice.notes]
    chosen = volume = choice.volume
    if chosen is not None:
        try:
            volume = await _make_mountable(chosen, children, parameters, warnings)
        except Exception as error:
            log.exception("make %s mountable", chosen.device)  # whatever it is, the boot goes on
            warnings.append(f"state partition {chosen.device} cannot be used: {error}")
            volume = None
    warnings += await _lock_tpm()
    state = None
    if volume is not None:
        state = await _mount_disk(volume, children, warnings, parameters.state_directory)
    if state is None or state.mode == "memory":
        try:
            mount_one(VOLATILE_STATE)
        except OSError as error:
            warnings.append(f"cannot mount a memory file system at /var: {error.strerror}")
    try:
        warnings += await run_bounded(_make_directories, MOUNT_TIMEOUT_S)
    except TimeoutError:
        warnings.append(f"cannot make directories in /var: no answer within {MOUNT_TIMEOUT_S:g} s")
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


async def _lock_tpm() -> list[str]:
    """Before anything on a disk counts, which may be a stranger's; what failed, in words."""
    from orlop.system.storage import tpm_lock

    if not os.path.exists(tpm_lock.DEVICE):
        return []
    try:
        if await run_bounded(partial(tpm_lock.lock, tpm_lock.DEVICE), tpm_lock.TIMEOUT_S):
            return []
        reason = "it refuses"
    except TimeoutError:
        reason = f"no answer within {tpm_lock.TIMEOUT_S:g} s"
    except OSError as error:
        reason = str(error.strerror)
    return [f"the TPM cannot be told that the state is open: {reason}"]


async def _make_mountable(
    volume: Volume, children: Children, parameters: Parameters, warnings: list[str]
) -> Volume | None:
    """What can be mounted of *volume*: what is in it, if it is encrypted; its driver is loaded."""
    if volume.superblock.fstype == LUKS or parameters.state_sealed:
        from orlop.system.storage import unlocking

        if volume.superblock.fstype != LUKS:
            warnings.append(f"{volume.device} is not encrypted and is not used: {unlocking.SEALED}")
            return None
        key, sealed = parameters.state_key, parameters.state_sealed
        device, said = await unlocking.unlock(volume, key, children, sealed=sealed)
        warnings += said
        found = await block_devices.probe([device.removeprefix(f"{DEVICES}/")]) if device else []
        if device and not found:
            warnings.append(f"there is no file system in {volume.device}")
        if found and found[0].superblock.fstype == LVM:
            found = await _look_into_group(device, children, warnings) or found
        inner = replace(parameters, state_key="", state_sealed=False)
        return await _make_mountable(found[0], children, inner, warnings) if found else None
    if volume.superblock.fstype in ("xfs", "btrfs"):
        from orlop.lib.errors import OrlopError
        from orlop.system.storage import extras, late_disks

        try:
            await late_disks.patiently(extras.ensure, children, EXTRAS_WAIT_S)
            await extras.load_modules(children, [volume.superblock.fstype])
        except OrlopError as error:
            warnings.append(f"{volume.device}: {error}")
    if volume.superblock.fstype not in _OPTIONS:
        warnings.append(f"{volume.device} is {volume.superblock.fstype}, which is no state")
        return None
    return volume


async def _look_into_group(device: str, children: Children, warnings: list[str]) -> list[Volume]:
    """The volume of the group on *device* that is the state; what failed, among *warnings*."""
    from orlop.lib.errors import OrlopError
    from orlop.system.storage import assembly

    try:
        inside = await assembly.open_group(children, device)
        usable = [volume for volume in inside if volume.superblock.fstype in _OPTIONS]
        return disk_references.prefer(usable, DEFAULT_LABEL)
    except OrlopError as error:
        warnings.append(f"the volume group on {device} cannot be used: {error}")
        return []


async def _mount_disk(
    volume: Volume, children: Children, warnings: list[str], directory: str
) -> State | None:
    superblock = volume.superblock
    identity = (volume.device, superblock.fstype, superblock.label, superblock.uuid)
    if not superblock.clean:
        warnings += await _check(volume, children)
    target = WHOLE_TARGET if directory else TARGET
    problem = await _try_mount(volume, target, MountFlag(0))
    if problem and superblock.clean and superblock.fstype == "ext4":
        warnings += await _check(volume, children)
        problem = await _try_mount(volume, target, MountFlag(0))
    if directory and not problem:
        problem = await _bind_directory(f"{target}/{directory}")
    if not problem:
        return State("disk", TARGET, *identity)
    if not await _try_mount(volume, READ_ONLY_TARGET, MountFlag.RDONLY):
        warnings.append(
            f"state partition {volume.device} is read-only here ({problem}): "
            "/var is in memory, configuration is read from the disk"
        )
        return State("memory", f"{READ_ONLY_TARGET}/{directory}".rstrip("/"), *identity)
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


async def _bind_directory(source: str) -> str:
    """Let *source* be /var; why it cannot, or nothing."""

    def work() -> None:
        os.makedirs(source, exist_ok=True)
        mount(source, TARGET, None, MountFlag.BIND)

    try:
        await run_bounded(work, MOUNT_TIMEOUT_S)
    except TimeoutError:
        return f"no answer within {MOUNT_TIMEOUT_S:g} s"
    except OSError as error:
        return f"{source}: {error.strerror}"
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
            if status.code == CANNOT_OPEN:
                # A torn write of the superblock. Asked like that, it looks for one of its copies.
                command = [CHECKER, "-y", volume.device]
                status, _ = await children.run(command, timeout_s=CHECK_TIMEOUT_S)
    except TimeoutError:
        return [f"checking {volume.device}: no answer within {CHECK_TIMEOUT_S:g} s"]
    except OrlopError as error:
        return [f"checking {volume.device}: {error}"]
    if status.code & (4 | CANNOT_OPEN):
        return [f"{volume.device} has errors that e2fsck does not mend by itself"]
    if status.code & 1:
        return [f"{volume.device} had errors, which e2fsck has mended"]
    return []


def withheld(state: State, parameters: Parameters) -> dict[str, str]:
    """The services that do not start with such a *state*, and why; pure."""
    if state.mode == "disk" or not parameters.state_required:
        return {}
    return {"engine": "there is no state, and orlop.state.required"}


async def present(directory: str = "") -> State:
    """What /var is by the mount table: after a re-execution of PID 1.

    *directory*: only that one of the partition is the state.
    """
    found = {os.fspath(entry.target): entry for entry in read_mounts()}
    for mode, place, root in (
        ("disk", TARGET, TARGET),
        ("memory", READ_ONLY_TARGET, f"{READ_ONLY_TARGET}/{directory}".rstrip("/")),
    ):
        entry = found.get(place)
        if entry is None or entry.fstype not in _OPTIONS:
            continue
        names = [entry.source.removeprefix(f"{DEVICES}/")]
        volume = next(iter(await block_devices.probe(names, DEVICES)), None)
        if volume is None:
            return State(mode, root, entry.source, entry.fstype)
        superblock = volume.superblock
        identity = (superblock.fstype, superblock.label, superblock.uuid)
        return State(mode, root, entry.source, *identity)
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
