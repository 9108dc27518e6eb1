"""What a service waits for in another one that has been started: its condition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.engine.engine import Health, State
from orlop.wire.compose_model import DependencyCondition

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orlop.system.services.state import ContainerEngine
    from orlop.wire.compose_model import Dependency

    type Online = Callable[[], Awaitable[bool]]

NETWORK = "network"
"""The service whose health is whether the machine is online."""


async def until_met(
    engine: ContainerEngine,
    dependency: Dependency,
    online: Online | None,
    change: Callable[[str], None],
    settle: Callable[[str], None],
) -> str:
    """Wait until the condition of *dependency*, which has been started, is met; why it never will
    be, or nothing.

    *change* and *settle* are told what is waited for; the second where nobody has to wait for
    this. *online* waits for the network, within a limit.
    """
    name = dependency.service
    match dependency.condition:
        case DependencyCondition.STARTED:
            return ""
        case DependencyCondition.HEALTHY if name == NETWORK and online is not None:
            settle("waits for the network")
            await online()
            return ""
        case DependencyCondition.HEALTHY:
            change(f"waits for {name} to be healthy")
            info = await engine.wait_started(name, healthy=True)
            if info.health in (Health.HEALTHY, Health.NONE) and info.state is State.RUNNING:
                return ""
            return f"depends on {name}, which is not healthy"
        case DependencyCondition.COMPLETED:
            change(f"waits for {name} to complete")
            code = await engine.wait(name)
            return "" if code == 0 else f"depends on {name}, which ended with status {code}"
