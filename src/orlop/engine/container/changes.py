"""What is done to a container between its start and its end: pause, rename, update.

Operations of its owner's, each on the container's core.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

from orlop.engine.container.state import State
from orlop.lib.errors import Conflict

if TYPE_CHECKING:
    from orlop.engine.container.config import Resources
    from orlop.engine.container.core import Core
    from orlop.engine.container.health import HealthWatch
    from orlop.wire.compose_model import RestartPolicy


async def pause(core: Core, health: HealthWatch) -> None:
    """Freeze all its processes.

    Raises:
        Conflict: it does not run, or is frozen.
    """
    if core.record.state is State.PAUSED:
        raise Conflict(f"Container {core.record.id} is already paused")
    if core.record.state is not State.RUNNING:
        raise Conflict(f"container {core.record.id} is not running")
    core.confinement.freeze(frozen=True)
    core.set_state(State.PAUSED)
    health.end()
    core.publish("pause")


async def unpause(core: Core, health: HealthWatch) -> None:
    """Let it go on.

    Raises:
        Conflict: it is not frozen.
    """
    if core.record.state is not State.PAUSED:
        raise Conflict(f"Container {core.record.id} is not paused")
    thaw(core)
    health.begin()
    core.publish("unpause")


def thaw(core: Core) -> None:
    """If it is frozen: RUNNING again."""
    if core.record.state is State.PAUSED:
        core.confinement.freeze(frozen=False)
        core.set_state(State.RUNNING)


async def rename(core: Core, name: str) -> None:
    """Store another name, which is free."""
    old = core.name
    core.replace_config(dataclasses.replace(core.config, name=name))
    if core.host.networks is not None:
        core.host.networks.sandboxes.renamed(core.record, core.layout)
    core.publish("rename", {"oldName": f"/{old}"})


async def update(core: Core, policy: RestartPolicy | None, resources: Resources | None) -> None:
    """Another restart policy or other limits, at once if it runs.

    Raises:
        Conflict: a policy for one that is removed at its end.
        OrlopError: the kernel refused a limit.
    """
    config = core.config
    if policy is not None:
        if config.auto_remove and policy.mode != "no":
            raise Conflict(
                "Restart policy cannot be updated because AutoRemove is enabled for the container"
            )
        config = dataclasses.replace(config, restart=policy)
    if resources is not None:
        config = dataclasses.replace(config, resources=resources)
        if core.record.state.is_up:
            from orlop.engine.container.limits import apply_limits

            # In a thread: for less memory the kernel first takes away what is too much.
            cgroup = core.confinement.cgroup
            await asyncio.to_thread(apply_limits, core.host, cgroup, resources)
    core.replace_config(config)
    core.publish("update")
