"""Binds of the engine's own directory, or of one that holds it, such as `-v /:/host`.

The root of every container is mounted below it. A bind that keeps private copies of these mounts
keeps their files too, until its container ends; so such a bind follows what is unmounted outside.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.engine.api.request_mounts import bind_modes
from orlop.lib.errors import InvalidArgument
from orlop.wire.compose_model import MountKind, Propagation

if TYPE_CHECKING:
    from orlop.engine.container.config import ContainerConfig
    from orlop.wire.compose_model import Mount
    from orlop.wire.docker.fields import Object

_FOLLOWS = ("", "rslave", "rshared")


def let_go(config: ContainerConfig, host: Object, root: str) -> ContainerConfig:
    """*config* with such binds that no mode was asked for made slaves. *root* is the engine's.

    Raises:
        InvalidArgument: another mode was asked for.
    """
    asked = bind_modes(host)
    mounts = tuple(_follow(mount, asked.get(mount.target, ""), root) for mount in config.mounts)
    return config if mounts == config.mounts else replace(config, mounts=mounts)


def _follow(mount: Mount, word: str, root: str) -> Mount:
    if mount.kind is not MountKind.BIND or not (
        _holds(mount.source, root) or _holds(root, mount.source)
    ):
        return mount
    if word not in _FOLLOWS:
        raise InvalidArgument(
            'invalid mount config: must use either propagation mode "rslave" or "rshared" when '
            f'mount source is within the daemon root, daemon root: "{root}", bind mount source: '
            f'"{mount.source}", propagation: "{word}"'
        )
    return mount if word else replace(mount, propagation=Propagation.SLAVE)


def _holds(outer: str, inner: str) -> bool:
    return f"{inner}/".startswith(f"{outer.rstrip('/')}/")
