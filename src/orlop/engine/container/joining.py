"""Namespaces of other containers: `--pid container:NAME`, `--ipc container:NAME`.

That of the network is joined in `engine.network.sandboxes`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from orlop.lib import mount
from orlop.lib.errors import Conflict, Internal, InvalidArgument
from orlop.lib.mount import MountFlag

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orlop.engine.container.config import ContainerConfig
    from orlop.engine.container.container import Container
    from orlop.engine.container.layout import Layout

PREFIX = "container:"


def fix_names(config: ContainerConfig, find: Callable[[str], Container]) -> ContainerConfig:
    """*config* with ids instead of names, which may change.

    Raises:
        InvalidArgument: there is no such container. One whose network is to be shared is looked
            for again at the start, as dockerd does.
    """
    changes = {}
    for key, mode in (("pid", config.pid), ("ipc", config.ipc), ("network", config.network)):
        if not mode.startswith(PREFIX):
            continue
        try:
            changes[key] = PREFIX + find(mode.removeprefix(PREFIX)).record.id
        except InvalidArgument:
            if key != "network":
                raise
    return dataclasses.replace(config, **changes) if changes else config  # type: ignore[arg-type]


def find_joined(
    config: ContainerConfig, layout: Layout, find: Callable[[str], Container]
) -> tuple[tuple[tuple[str, str], ...], Path | None]:
    """Kind and path of each namespace to join, and where /dev/shm is if it is shared.

    Raises:
        NotFound: the other container is gone. Conflict, Internal: it does not run.
        InvalidArgument: it does not share its IPC namespace.
    """
    joined: list[tuple[str, str]] = []
    shm_dir = layout.shm if config.ipc == "shareable" else None
    for kind, mode in (("pid", config.pid), ("ipc", config.ipc)):
        if not mode.startswith(PREFIX):
            continue
        other = find(mode.removeprefix(PREFIX))
        if not other.record.state.is_up:
            if kind == "pid":
                raise Internal(
                    f"failed to join PID namespace: container {other.record.id} is not running"
                )
            raise Conflict(f"cannot join IPC of a non running container: {other.record.id}")
        if kind == "ipc":
            if other.config.ipc != "shareable":
                raise InvalidArgument(
                    f"cannot join IPC of container {other.record.id}: non-shareable IPC "
                    "(hint: use IpcMode:shareable for the donor container)"
                )
            shm_dir = other.layout.shm
        joined.append((kind, f"/proc/{other.record.pid}/ns/{kind}"))
        if config.uid_map:
            if other.config.uid_map != config.uid_map:
                raise InvalidArgument(
                    f"cannot join {kind.upper()} of container {other.record.id}: "
                    "its users have other numbers"
                )
            # Who shares a namespace shares the one that it belongs to.
            users = ("user", f"/proc/{other.record.pid}/ns/user")
            joined += [users] if users not in joined else []
    return tuple(joined), shm_dir


def mount_shm(config: ContainerConfig, layout: Layout) -> None:
    """Make the /dev/shm that others may share, on the host's side.

    Raises:
        Internal: the kernel's reason.
    """
    if config.ipc != "shareable":
        return
    flags = MountFlag.NOSUID | MountFlag.NODEV | MountFlag.NOEXEC
    try:
        mount.detach(layout.shm)
        layout.shm.mkdir(exist_ok=True, mode=0o700)
        options = f"mode=1777,size={config.shm_size_bytes}"
        mount.mount("shm", layout.shm, "tmpfs", flags, options)
    except OSError as error:
        raise Internal(f"cannot mount /dev/shm: {error}") from error


def unmount_shm(layout: Layout) -> None:
    """Undo `mount_shm`.

    Raises:
        OSError: the kernel's reason.
    """
    mount.detach(layout.shm)
