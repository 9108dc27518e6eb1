"""The volumes of one container: made when it is created, attached while it is up.

At creation every mount of a volume gets the volume's name, those of other containers
(`VolumesFrom`) and of the image (`VOLUME`) are added, and new volumes are filled with what the
image has at their place. At a start they become directories to bind.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.engine import disk
from orlop.engine.container.config import VolumeRequest
from orlop.lib import mount as mounting
from orlop.lib.errors import Conflict, Internal, InvalidArgument, NotFound, OrlopError
from orlop.lib.linux import RESOLVE_BENEATH, open_in_root
from orlop.wire.compose_model import Mount, MountKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from orlop.engine.container.config import ContainerConfig
    from orlop.engine.container.layout import Layout
    from orlop.engine.host import Host
    from orlop.engine.images import Image
    from orlop.engine.volumes.volumes import Volumes


def plan_mounts(
    config: ContainerConfig, image: Image, others: Callable[[str], ContainerConfig]
) -> ContainerConfig:
    """*config* with the mounts of other containers and of the image. *others* finds the former.

    What the container says itself goes before what it takes from others, and that before the image.

    Raises:
        NotFound: there is no such other container.
    """
    own = {mount.target: mount for mount in config.mounts}
    explicit = {
        target for target, mount in own.items() if mount.source or mount.kind is MountKind.TMPFS
    }
    taken: dict[str, Mount] = {}
    for text in config.volumes_from:
        ref, _, mode = text.partition(":")
        for mount in others(ref).mounts:
            if mount.kind is MountKind.TMPFS:
                continue
            read_only = mount.read_only or "ro" in mode.split(",")
            # The volume is somebody else's, however empty: this image's files do not go there.
            taken[mount.target] = replace(mount, read_only=read_only, mode_text=mode, no_copy=True)
    # An anonymous volume is only asked for where nothing else is.
    kept = [m for m in config.mounts if m.target in explicit or m.target not in taken]
    mounts = [*kept, *(m for target, m in taken.items() if target not in explicit)]
    requests = [r for r in config.volume_requests if r.target in {m.target for m in kept}]
    present = {mount.target for mount in mounts}
    for target in image.volumes:
        clean = "/" + os.path.normpath(target).strip("/")
        if clean not in present and clean != "/":
            present.add(clean)
            mounts.append(Mount(MountKind.VOLUME, clean))
            requests.append(VolumeRequest(clean))
    return replace(config, mounts=tuple(mounts), volume_requests=tuple(requests), volumes_from=())


async def create_volumes(
    volumes: Volumes, config: ContainerConfig, reserve: set[str]
) -> ContainerConfig:
    """*config* with every volume made and named; their names are added to *reserve*.

    Raises:
        OrlopError: a volume cannot be made; those made before for no name are gone again.
    """
    requests = {request.target: request for request in config.volume_requests}
    mounts: list[Mount] = []
    fresh: list[str] = []
    try:
        for mount in config.mounts:
            if mount.kind is not MountKind.VOLUME:
                mounts.append(mount)
                continue
            request = requests.get(mount.target, VolumeRequest(mount.target))
            volume = await volumes.create(
                mount.source,
                driver=request.driver,
                options=request.options,
                labels=request.labels,
                filling=not mount.no_copy,
                reserve=reserve,
            )
            if not mount.source:
                fresh.append(volume.name)
            # What dockerd shows as the mode of a volume that was named and given none.
            mode = mount.mode_text or ("z" if mount.source else "")
            mounts.append(replace(mount, source=volume.name, mode_text=mode))
    except BaseException:
        reserve.clear()
        await remove_anonymous(volumes, fresh)
        raise
    return replace(config, mounts=tuple(mounts), volume_requests=())


async def remove_anonymous(volumes: Volumes, names: list[str]) -> None:
    """Remove those of *names* that are anonymous and that no container has. Never raises."""
    for name in names:
        try:
            if volumes.get(name).is_anonymous:
                await volumes.remove(name)
        except (NotFound, Conflict):
            continue
        except OrlopError as error:
            import logging

            logging.getLogger(__name__).warning("%s, ignoring", error)


def names_of(config: ContainerConfig) -> list[str]:
    """The volumes of a container, each once."""
    return list(dict.fromkeys(m.source for m in config.mounts if m.kind is MountKind.VOLUME))


async def attach(
    host: Host,
    layout: Layout,
    config: ContainerConfig,
    container_id: str,
    userns_fd: int = -1,
) -> tuple[tuple[str, str], ...]:
    """Make the container's volumes available; target and directory of each.

    With *userns_fd* owners are shifted as in that user namespace.

    Raises:
        OrlopError: one cannot be had; `release` undoes what was done.
    """
    found: list[tuple[str, str]] = []
    for index, mount in enumerate(config.mounts):
        if mount.kind is not MountKind.VOLUME:
            continue
        path = os.fspath(await host.volumes.attach(mount.source, container_id))
        if mount.subpath or userns_fd >= 0:
            part = (host, layout.subpath(index), path, mount.subpath, userns_fd)
            path = await disk.look(path, functools.partial(_bind_part, *part))
        found.append((mount.target, path))
        host.volumes.publish_mount(
            "mount",
            mount.source,
            {
                "container": container_id,
                "destination": mount.target,
                "propagation": "",
                "read/write": str(not mount.read_only).lower(),
            },
        )
    return tuple(found)


async def release(host: Host, layout: Layout, config: ContainerConfig, container_id: str) -> None:
    """Undo `attach`. Never raises."""
    for index, mount in enumerate(config.mounts):
        if mount.kind is MountKind.VOLUME and (mount.subpath or config.uid_map):
            try:
                _remove_place(layout.subpath(index))
            except OSError as error:
                host.warn(f"cannot unmount a part of volume {mount.source}: {error}, ignoring")
    for name in await host.volumes.detach(container_id):
        host.volumes.publish_mount("unmount", name, {"container": container_id})


def _remove_place(path: Path) -> None:
    """Take away a mount and what it was on, and never anything below.

    Raises:
        OSError: the kernel's reason.
    """
    mounting.detach(path)
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()


def remove_strays(run_dir: Path, ids: frozenset[str]) -> None:
    """Undo what a killed engine mounted for containers other than *ids*, which are up."""
    try:
        names = os.listdir(run_dir / "subpaths")
    except OSError:
        return
    for name in names:
        if name.rpartition("-")[0] not in ids:
            with contextlib.suppress(OSError):
                _remove_place(run_dir / "subpaths" / name)


def _bind_part(host: Host, target: Path, root: str, subpath: str, userns_fd: int) -> str:
    """Mount a volume, or a part of it, at a place that only the engine changes.

    The part is looked up once, inside the volume: a container that swaps a directory for a link to
    elsewhere gains nothing.
    """
    try:
        descriptor = open_in_root(root, subpath or ".", os.O_PATH, resolve=RESOLVE_BENEATH)
    except OSError as error:
        if error.errno == errno.EXDEV:
            reason = "path concatenation escapes the base directory"
            raise InvalidArgument(f"{reason}, base: {root}, subpath: {subpath}") from error
        reason = f"cannot access path {root}/{subpath}: {error.strerror}"
        raise InvalidArgument(reason) from error
    source = f"/proc/self/fd/{descriptor}"
    try:
        target.parent.mkdir(exist_ok=True, mode=0o700)
        _remove_place(target)
        if os.path.isdir(source):
            target.mkdir(mode=0o700)
        else:
            target.touch(mode=0o600)
        if userns_fd >= 0:
            try:
                mounting.bind_idmapped(source, target, userns_fd)
                return os.fspath(target)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                host.warn(f"{root}: this file system cannot shift owners, they are as stored")
        flags = mounting.MountFlag.BIND | mounting.MountFlag.REC
        mounting.mount(source, target, None, flags)
    except OSError as error:
        raise Internal(f"cannot mount {subpath or 'volume'} of {root}: {error}") from error
    finally:
        os.close(descriptor)
    return os.fspath(target)


@contextlib.asynccontextmanager
async def shifted(
    host: Host, name: str, subpath: str, container_id: str, userns_fd: int
) -> AsyncIterator[str]:
    """The directory of volume *name*, or *subpath* in it, with the container's owners meanwhile.

    Raises:
        OrlopError: it cannot be mounted.
    """
    root = os.fspath(host.volumes.content(name))
    if userns_fd < 0 and not subpath:
        yield root
        return
    place = host.settings.run_dir / "subpaths" / f"{container_id}-{os.urandom(4).hex()}"
    try:
        yield await disk.look(root, lambda: _bind_part(host, place, root, subpath, userns_fd))
    finally:
        with contextlib.suppress(OSError):
            _remove_place(place)
