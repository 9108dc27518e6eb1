"""What the creation of a container does besides its record: volumes, and names of others."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

from orlop.engine import capabilities, joining, spec, userns, volume_fill, volume_mounts
from orlop.lib.errors import InvalidArgument, OrlopError
from orlop.wire.compose_model import MountKind

if TYPE_CHECKING:
    from orlop.engine.config import ContainerConfig
    from orlop.engine.container import Container
    from orlop.engine.engine import Engine
    from orlop.engine.images import Image


def plan(engine: Engine, config: ContainerConfig, image: Image) -> ContainerConfig:
    """*config* with what the image and other containers add to it. Touches nothing.

    Raises:
        NotFound: it names a container that is not there. InvalidArgument: no start could succeed.
    """
    spec.plan_arguments(config, image)
    capabilities.effective(config.cap_add, config.cap_drop)
    if config.stop_signal:
        spec.parse_signal(config.stop_signal)
    _check_bind_sources(config)
    if config.volumes_from or image.volumes:
        config = volume_mounts.plan_mounts(config, image, lambda ref: engine.find(ref).config)
    uid_map = userns.choose_map(engine.settings, config)
    if uid_map is not None:
        config = dataclasses.replace(config, uid_map=uid_map)
    return joining.fix_names(config, engine.find)


def _check_bind_sources(config: ContainerConfig) -> None:
    """Refuse a source that is not there, where nobody said that it is to be made.

    A service's may come to be until it starts.
    """
    if not config.requested:
        return
    for mount in config.mounts:
        missing = mount.kind is MountKind.BIND and not os.path.lexists(mount.source)
        if missing and not mount.create_host_path:
            raise InvalidArgument(
                'invalid mount config for type "bind": bind source path does not exist: '
                + mount.source
            )


async def make_volumes(engine: Engine, config: ContainerConfig) -> ContainerConfig:
    """*config* with every volume made and named.

    Raises:
        OrlopError: one cannot be made.
    """
    if not any(mount.kind is MountKind.VOLUME for mount in config.mounts):
        return config
    return await volume_mounts.create_volumes(engine.host.volumes, config)


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
    mounts = volume_fill.wanted(engine.host, container.config, creating=True)
    if not mounts:
        return
    holder = f"{container.record.id} filling"
    await container.hold_root()
    try:
        root, userns_fd = container.layout.rootfs, await container.userns_fd()
        await volume_fill.fill(engine.host, mounts, root, holder, userns_fd)
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
