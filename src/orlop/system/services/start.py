"""The container of a service, made and started: with its files, or a console without them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from orlop.engine.container.config import from_service
from orlop.lib.errors import NotModified, OrlopError
from orlop.system.config.files import DIRECTORY, HOST_KEYS
from orlop.system.services.files import extra_mounts, with_sockets

if TYPE_CHECKING:
    from orlop.system.services.state import ContainerEngine, Provider
    from orlop.wire.compose_model import Mount, ServiceDefinition

log = logging.getLogger(__name__)

WAYS_IN = ("console", "shell", "ssh")
"""Services that start in any case: without them nobody can mend what is wrong."""


async def start(
    engine: ContainerEngine, provider: Provider | None, definition: ServiceDefinition
) -> str:
    """Create and start the container of *definition*; what was left out for that, or nothing.

    Raises:
        OrlopError, OSError: it cannot be.
    """
    wanted = with_sockets(definition)
    mounts = extra_mounts(wanted)
    try:
        await _start(engine, provider, wanted, mounts)
    except OrlopError as error:
        needed = tuple(mount for mount in mounts if not _is_optional(mount))
        if definition.name not in WAYS_IN or needed == mounts:
            raise
        reason = f"runs without its files of write_files: {error}"
        log.error("service %s %s", definition.name, reason)
        await _start(engine, provider, wanted, needed)
        return reason
    return ""


async def _start(
    engine: ContainerEngine,
    provider: Provider | None,
    wanted: ServiceDefinition,
    mounts: tuple[Mount, ...],
) -> None:
    config = from_service(wanted, extra_mounts=mounts)
    if provider is not None:
        config = provider.adapt(config)
    await engine.create(config, replace=True)
    try:
        await engine.start_container(wanted.name)
    except NotModified:
        pass  # it was running before PID 1 was executed anew


def _is_optional(mount: Mount) -> bool:
    return mount.source.startswith(f"{DIRECTORY}/") and not mount.target.startswith(HOST_KEYS)
