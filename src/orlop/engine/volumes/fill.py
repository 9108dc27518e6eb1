"""Filling new volumes with what the image has at their place, as Docker does.

When a container is created; at its start again, if that was interrupted. A volume says on disk that
it is being filled, so a half-filled one is emptied at the engine's next start and filled anew.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from orlop.engine import disk
from orlop.engine.volumes import mounts as volume_mounts
from orlop.engine.worker_process import worker_argv
from orlop.lib.errors import Internal, InvalidArgument
from orlop.wire.compose_model import MountKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orlop.engine.container.config import ContainerConfig
    from orlop.engine.host import Host
    from orlop.wire.compose_model import Mount

TIMEOUT_S = 3600.0
"""For one volume: ends a hang, not a large image."""


async def wanted(host: Host, config: ContainerConfig, *, creating: bool) -> list[Mount]:
    """The mounts of *config* whose volumes may have to be filled.

    When *creating*, every one that is empty; when starting, only those left half done.
    """
    found = []
    for mount in config.mounts:
        if mount.kind is not MountKind.VOLUME or mount.no_copy:
            continue
        if mount.subpath:
            found += [mount] if creating else []
            continue
        volume = host.volumes.get(mount.source)
        if volume.filling or (
            creating and (volume.options or not await _has_entries(host, mount.source))
        ):
            found.append(mount)
    return found


async def _has_entries(host: Host, name: str) -> bool:
    path = os.fspath(host.volumes.content(name))

    def look() -> bool:
        with os.scandir(path) as entries:
            return next(entries, None) is not None

    return await disk.look(path, look)


async def fill(
    host: Host, mounts: Sequence[Mount], root: Path, holder: str, userns_fd: int = -1
) -> None:
    """Fill the volumes of *mounts* from *root*; *holder* has them attached meanwhile.

    *root* has its owners shifted as in the user namespace *userns_fd*, if there is one.

    Raises:
        Internal: something could not be copied; what was stays for the next attempt, and is thrown
            away at the engine's next start.
    """
    for mount in mounts:
        await host.volumes.attach(mount.source, holder)
        # Of two that are made with one new volume, the second has it when it is whole.
        reason = f"volume {mount.source} is still being filled"
        async with host.volumes.fillings.of(mount.source, TIMEOUT_S, reason):
            await _fill(host, mount, root, holder, userns_fd)


async def _fill(host: Host, mount: Mount, root: Path, holder: str, userns_fd: int) -> None:
    if mount.subpath:
        # What else is in the volume is somebody's: it is never emptied for a part of it.
        with contextlib.suppress(InvalidArgument):  # not there: the start says so
            await _copy(host, mount, root, holder, userns_fd)
        return
    if not host.volumes.get(mount.source).filling:
        if await _has_entries(host, mount.source):
            return
        await host.volumes.set_filling(mount.source, filling=True)
    await _copy(host, mount, root, holder, userns_fd)
    await host.volumes.set_filling(mount.source, filling=False)


def _is_empty(path: str) -> bool:
    return os.path.isdir(path) and not os.listdir(path)


async def _copy(host: Host, mount: Mount, root: Path, holder: str, userns_fd: int) -> None:
    place = volume_mounts.shifted(host, mount.source, mount.subpath, holder[:64], userns_fd)
    async with place as target:
        if mount.subpath and not await disk.look(target, lambda: _is_empty(target)):
            return
        command = worker_argv("copy", os.fspath(root), mount.target, target)
        fd = userns_fd if userns_fd >= 0 else None
        status, output = await host.children.run(command, stdin_fd=fd, timeout_s=TIMEOUT_S)
    if not status.ok:
        reason = output.decode(errors="replace").strip()[-500:] or "the copy failed"
        raise Internal(f"cannot fill volume {mount.source} from the image: {reason}")
