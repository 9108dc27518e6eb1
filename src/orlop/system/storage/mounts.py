"""`mounts`: file systems of the configuration, below /mnt.

The machine's root is read-only, so the directories are made in /var/mnt, which the consoles and the
user's engine have at /mnt; what is mounted there later appears there too. A disk that is not there
yet is waited for, but not for long: the machine boots without it and says so.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib import atomic_file
from orlop.lib.blocking import run_bounded
from orlop.lib.errors import OrlopError
from orlop.lib.mount import MountFlag, detach, mount, read_mounts
from orlop.system.storage import block_devices, disk_references
from orlop.system.storage.superblock import PARTS
from orlop.wire.config.mounts import NFS, PLACE, SWAP, is_bind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.lib.children import Children
    from orlop.system.storage.block_devices import Volume
    from orlop.wire.compose_model import Json

log = logging.getLogger(__name__)

DIRECTORY = "/var/mnt"
ASIDE = "/run/orlop/mount"
MADE = "/run/orlop/mounts.json"
WAIT_S = 10.0
TIMEOUT_S = 60.0
IN_EXTRAS = ("xfs", "btrfs")
"""What the kernel would load by itself, were it not in the extras."""

_NO_DISK = ("tmpfs", *NFS)
_FLAGS = {
    "ro": MountFlag.RDONLY,
    "noexec": MountFlag.NOEXEC,
    "noatime": MountFlag.NOATIME,
    "nodiratime": MountFlag.NODIRATIME,
    "relatime": MountFlag.RELATIME,
    "strictatime": MountFlag.STRICTATIME,
    "lazytime": MountFlag.LAZYTIME,
    "sync": MountFlag.SYNCHRONOUS,
    "bind": MountFlag.BIND,
    "rbind": MountFlag.BIND | MountFlag.REC,
}
_NOT_FOR_THE_KERNEL = frozenset(
    {"defaults", "auto", "noauto", "nofail", "fail", "rw", "exec", "suid", "dev", "async", "user"}
    | {"nouser", "users", "owner", "group", "nosuid", "nodev", "_netdev", "comment"}
)


@dataclass(frozen=True, slots=True)
class Request:
    """One mount. *device* is as configured, *target* where PID 1 makes it."""

    device: str
    target: str
    fstype: str
    options: str


def plan(entries: Json) -> list[Request]:
    """The mounts that `mounts`, as the worker has checked it, stands for."""
    found: list[Request] = []
    for entry in entries if isinstance(entries, list) else []:
        device, directory, fstype, options = map(str, entry if isinstance(entry, list) else [])
        if fstype != SWAP and "noauto" not in options.split(","):
            target = f"{DIRECTORY}/{directory.removeprefix(PLACE)}"
            found.append(Request(device, target, fstype, options))
    return found


def kernel_options(options: str) -> tuple[MountFlag, str]:
    """The flags and the data of mount(2). No program gets rights and no device works from there."""
    flags = MountFlag.NOSUID | MountFlag.NODEV
    data: list[str] = []
    for word in options.split(","):
        if word in _FLAGS:
            flags |= _FLAGS[word]
        elif word not in _NOT_FOR_THE_KERNEL and not word.startswith(("x-", "comment=")):
            data.append(word)
    return flags, ",".join(data)


def resolve(device: str, volumes: Sequence[Volume]) -> Volume | None:
    """The volume that *device* means, if the machine has it: see `storage.disk_references`."""
    try:
        kind, value = disk_references.split(device)
    except ValueError:
        return None  # a directory, for a bind
    asked = disk_references.needs_names(kind)
    for volume in volumes:
        names = disk_references.read_names(volume.device) if asked else disk_references.Names()
        if disk_references.matches(kind, value, volume, names):
            return volume
    return None


def share(directory: str) -> None:
    """Make *directory* a mount whose later mounts containers see that have it. May run twice.

    Raises:
        OSError: as mount(2).
    """
    os.makedirs(directory, mode=0o711, exist_ok=True)
    if not any(os.fspath(entry.target) == directory for entry in read_mounts()):
        mount(directory, directory, None, MountFlag.BIND)
    mount(None, directory, None, MountFlag.SHARED)


async def apply(
    requests: Sequence[Request],
    children: Children,
    *,
    wait_s: float,
    network: bool = True,
    made: str = MADE,
) -> dict[str, str]:
    """Make the mounts that are not there yet and take off those that are not wanted any more.

    For a disk that is missing it waits for *wait_s* seconds. Without a *network*, what comes over
    it is left for later.

    Returns the directories of those that could not be made, and why.
    """
    share(DIRECTORY)  # first: it would hide what is mounted there already
    before = _read(made)
    wanted = {request.target: request for request in requests}
    problems: dict[str, str] = {}
    for target, request in before.items():
        if wanted.get(target) != request:
            try:
                await run_bounded(partial(detach, target), TIMEOUT_S)
            except (OSError, TimeoutError) as error:
                problems[target] = _reason(error)
    present = {target: r for target, r in before.items() if wanted.get(target) == r}
    missing = [r for r in requests if r.target not in present and (network or r.fstype not in NFS)]
    volumes = await _find(missing, children, wait_s)
    for request in missing:
        try:
            await _mount(request, volumes, children)
            present[request.target] = request
        except (OSError, TimeoutError, OrlopError) as error:
            problems[request.target] = _reason(error)
    if present != before:
        _write(made, present)
    return {name_of(target): why for target, why in problems.items()}


def name_of(target: str) -> str:
    """What people call the directory *target* on which something is mounted."""
    return PLACE + target.removeprefix(f"{DIRECTORY}/")


async def _find(missing: Sequence[Request], children: Children, wait_s: float) -> list[Volume]:
    """The volumes of this machine; waits if one that is wanted is not among them."""
    wanted = [r.device for r in missing if r.fstype not in _NO_DISK and not is_bind(r.options)]
    if not wanted:
        return []
    with block_devices.announcements() as announced:
        volumes = await block_devices.probe(block_devices.candidates())
        if not all(_is_there(device, volumes) for device in wanted) and any(
            volume.superblock.fstype in PARTS for volume in volumes
        ):
            from orlop.system.storage import assembly

            async def find() -> list[str]:
                now = await block_devices.probe(block_devices.candidates())
                return [path for device in wanted if (path := _device_of(device, now))]

            for problem in await assembly.assemble(children, find):
                log.warning("%s", problem)
            volumes = await block_devices.probe(block_devices.candidates())
        try:
            async with asyncio.timeout(wait_s):
                while not all(_is_there(device, volumes) for device in wanted):
                    await announced.wait_block_device()
                    volumes = await block_devices.probe(block_devices.candidates())
        except TimeoutError:
            pass
    return volumes


def _is_there(device: str, volumes: Sequence[Volume]) -> bool:
    return bool(_device_of(device, volumes))


def _device_of(device: str, volumes: Sequence[Volume]) -> str:
    """Its path; empty if it is not there."""
    volume = resolve(device, volumes)
    return volume.device if volume else device if os.path.exists(device) else ""


async def _mount(request: Request, volumes: Sequence[Volume], children: Children) -> None:
    if request.fstype in NFS:
        from orlop.system.storage import shares

        await shares.mount_share(**asdict(request), children=children)
        return
    flags, data = kernel_options(request.options)
    source, fstype = request.device, request.fstype
    if not is_bind(request.options) and fstype != "tmpfs":
        volume = resolve(source, volumes)
        if volume is not None:
            source = volume.device
            fstype = volume.superblock.fstype if fstype == "auto" else fstype
        elif not source.startswith("/") or not os.path.exists(source):
            raise OSError(f"no disk is {source}")
        elif fstype == "auto":
            raise OSError(f"what is on {source} is not known here: name its type")
        if fstype in IN_EXTRAS:
            from orlop.system.storage import extras

            await extras.load_modules(children, [fstype])
    await run_bounded(partial(_make, source, request.target, fstype, flags, data), TIMEOUT_S)


def _make(source: str, target: str, fstype: str, flags: MountFlag, data: str) -> None:
    """Blocks. A bind takes its flags only when it is mounted once more, and containers would not be
    told: so that is done aside."""
    os.makedirs(target, exist_ok=True)
    if not flags & MountFlag.BIND:
        mount(source, target, fstype, flags, data)
        return
    bind = flags & (MountFlag.BIND | MountFlag.REC)
    os.makedirs(ASIDE, mode=0o700, exist_ok=True)
    mount(source, ASIDE, None, bind)
    try:
        mount(None, ASIDE, None, flags | MountFlag.REMOUNT)
        mount(ASIDE, target, None, bind)
    finally:
        detach(ASIDE)


def _reason(error: OSError | TimeoutError | OrlopError) -> str:
    if isinstance(error, TimeoutError) and not error.args:
        return f"no answer within {TIMEOUT_S:g} s"
    return str(getattr(error, "strerror", None) or error)


def _read(path: str) -> dict[str, Request]:
    try:
        data = json.loads(Path(path).read_bytes())
        return {entry["target"]: Request(**entry) for entry in data}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _write(path: str, present: dict[str, Request]) -> None:
    try:
        text = json.dumps([asdict(request) for request in present.values()])
        atomic_file.write_text(Path(path), text, mode=0o600, durable=False)
    except OSError:
        pass  # then the next change does not know of these, and mounts over them
