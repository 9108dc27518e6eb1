"""What the creation of a container does besides its record: volumes, and names of others."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from typing import TYPE_CHECKING

from orlop.engine import disk
from orlop.engine.container import joining
from orlop.engine.runtime import capabilities, spec, userns
from orlop.engine.volumes import fill
from orlop.engine.volumes import mounts as volume_mounts
from orlop.lib.errors import InvalidArgument, NotFound, OrlopError
from orlop.wire.compose_model import MountKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop.engine.container.config import ContainerConfig
    from orlop.engine.container.container import Container
    from orlop.engine.container.layout import Layout
    from orlop.engine.container.record import Record
    from orlop.engine.engine import Engine
    from orlop.engine.images import Image

_FAKED = """
    cpuinfo diskstats meminfo stat swaps uptime loadavg slabinfo net/dev sys/kernel/ns_last_pid
    sys/crypto/fips_enabled
"""
_MAY_BE_FAKED = frozenset(_FAKED.split())
"""Files of /proc that lxcfs has in a container's own numbers."""


def plan(engine: Engine, config: ContainerConfig, image: Image) -> ContainerConfig:
    """*config* with what the image and other containers add to it. Touches nothing.

    Raises:
        InvalidArgument: it names a container that is not there, or no start could succeed.
    """
    spec.plan_arguments(config, image)
    capabilities.effective(config.cap_add, config.cap_drop)
    if config.stop_signal:
        spec.parse_signal(config.stop_signal)

    def find(ref: str) -> Container:
        try:
            return engine.find(ref)
        except NotFound as error:
            # Clients take "not found" for the image, and would pull it.
            raise InvalidArgument(str(error)) from error

    _refuse_proc(config)
    _check_endpoints(engine, config)
    config = fix_links(config, find)
    if config.volumes_from or image.volumes:
        config = volume_mounts.plan_mounts(config, image, lambda ref: find(ref).config)
    uid_map = userns.choose_map(engine.settings, config)
    if uid_map is not None:
        config = dataclasses.replace(config, uid_map=uid_map)
    return joining.fix_names(config, find)


def _check_endpoints(engine: Engine, config: ContainerConfig) -> None:
    """Refuse addresses that a network which is there cannot give; it need not be there yet."""
    networks = engine.host.networks
    if networks is None:
        return
    from orlop.engine.network.joining import check_wanted

    for wanted in config.networking.endpoints or ():
        try:
            network = networks.find(wanted.network)
        except OrlopError:
            continue
        check_wanted(network, wanted)


def _refuse_proc(config: ContainerConfig) -> None:
    """Refuse mounts that would change what the kernel says of itself, as runc does."""
    for mount in config.mounts if config.requested else ():
        if mount.target.startswith("/proc/") and mount.target[6:] not in _MAY_BE_FAKED:
            raise InvalidArgument(f'"{mount.target}" cannot be mounted because it is inside /proc')


def fix_links(config: ContainerConfig, find: Callable[[str], Container]) -> ContainerConfig:
    """*config* with links on the default bridge as `ID:ALIAS`: they follow a rename.

    Raises:
        InvalidArgument: in dockerd's words.
    """
    if config.network != "bridge" or not config.networking.links:
        return config
    links = []
    for link in config.networking.links:
        if link.count(":") > 1:
            raise InvalidArgument(f"bad format for links: {link[:200]}")
        name, _, alias = link.partition(":")
        try:
            other = find(name.removeprefix("/"))
        except InvalidArgument as error:
            raise InvalidArgument(f"could not get container for {name}: {error}") from error
        if other.config.network == "host":
            raise InvalidArgument(
                "conflicting options: host type networking can't be used with links. "
                "This would result in undefined behavior"
            )
        if other.config.network.startswith(joining.PREFIX):
            other = find(other.config.network.removeprefix(joining.PREFIX))
        links.append(f"{other.record.id}:{alias or name.removeprefix('/')}")
    networking = dataclasses.replace(config.networking, links=tuple(links))
    return dataclasses.replace(config, networking=networking)


async def check_bind_sources(config: ContainerConfig) -> None:
    """Refuse a source that is not there, where nobody said that it is to be made.

    A service's may come to be until it starts.

    Raises:
        InvalidArgument: as said. Unavailable: the disk does not say.
    """
    if not config.requested:
        return
    for mount in config.mounts:
        if mount.kind is not MountKind.BIND or mount.create_host_path:
            continue
        source = mount.source
        if not await disk.look(source, functools.partial(os.path.lexists, source)):
            raise InvalidArgument(
                'invalid mount config for type "bind": bind source path does not exist: '
                + mount.source
            )


async def make_volumes(
    engine: Engine, config: ContainerConfig, reserve: set[str]
) -> ContainerConfig:
    """*config* with every volume made and named; their names are added to *reserve*.

    Raises:
        OrlopError: one cannot be made.
    """
    if not any(mount.kind is MountKind.VOLUME for mount in config.mounts):
        return config
    return await volume_mounts.create_volumes(engine.host.volumes, config, reserve)


async def discard(engine: Engine, layout: Layout, record: Record) -> None:
    """Undo a creation that failed; what stays, the next start of the engine removes."""
    with contextlib.suppress(OSError):
        engine.host.run_trash.put(layout.run)
    with contextlib.suppress(OSError):
        engine.host.data_trash.put(layout.data)
    volumes = volume_mounts.names_of(record.config)
    await volume_mounts.remove_anonymous(engine.host.volumes, volumes)


async def fill_volumes(engine: Engine, container: Container) -> None:
    """Put the image's content into the container's new volumes, or remove it again.

    Raises:
        OrlopError: it cannot be copied.
    """
    try:
        await _fill_volumes(engine, container)
    except OrlopError:
        await container.remove(force=True, volumes=True)
        raise
    except BaseException:
        container.remove_later()
        raise


async def _fill_volumes(engine: Engine, container: Container) -> None:
    mounts = await fill.wanted(engine.host, container.config, creating=True)
    if not mounts:
        return
    holder = f"{container.record.id} filling"
    await container.hold_root()
    try:
        root, userns_fd = container.layout.rootfs, await container.userns_fd()
        await fill.fill(engine.host, mounts, root, holder, userns_fd)
    finally:
        await engine.host.volumes.detach(holder)
        container.drop_root()


def users_of(engine: Engine, name: str) -> list[str]:
    """The ids of the containers that have the volume *name*."""
    return [
        container.record.id
        for container in engine.all()
        if name in volume_mounts.names_of(container.config)
    ]


def cgroup_name(config: ContainerConfig, name: str) -> str:
    """*name*, below the cgroup that was asked for; all below the engine's own."""
    parent = "/".join(part for part in config.cgroup_parent.split("/") if part not in ("", "."))
    return f"{parent}/{name}" if parent else name
