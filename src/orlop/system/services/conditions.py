"""Whether a service is to be started at all: switched off, or its conditions not met.

`x-orlop.condition` holds when any one of its entries does: a path exists, a virtio port of that
name is there, a kernel parameter was given, a key of the configuration has a value.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orlop.system.boot_channel import find_port
from orlop.system.commands import RUNCMD
from orlop.system.config.configuration import Configuration
from orlop.system.network import online
from orlop.system.parameters import split_command_line
from orlop.system.services.services import ServiceState
from orlop.wire.compose_model import ConditionKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.wire.compose_model import Condition, ServiceDefinition


@dataclass(slots=True)
class Conditions:
    """The facts that conditions are about. *only* restricts what starts, for recovery."""

    command_line: str = ""
    disabled: frozenset[str] = frozenset()
    configuration: Configuration = field(default_factory=Configuration)
    only: frozenset[str] | None = None
    withheld: Mapping[str, str] = field(default_factory=dict)
    """Services that this boot goes without, and why."""
    has_run: str = ""
    """Why `runcmd` is not to be run; empty if it is."""

    def refusal(self, definition: ServiceDefinition) -> tuple[ServiceState, str] | None:
        """Why *definition* is not to be started, or None."""
        name = definition.name
        if self.only is not None and name not in self.only:
            return ServiceState.DISABLED, "the machine is in recovery mode"
        if name in self.disabled:
            return ServiceState.DISABLED, "switched off by orlop.services.disable"
        if name in self.withheld:
            return ServiceState.DISABLED, self.withheld[name]
        if not self.configuration.is_enabled(name):
            return ServiceState.DISABLED, f"switched off by orlop.services.{name}.enabled"
        if name == RUNCMD and self.has_run:
            return ServiceState.SKIPPED, self.has_run
        conditions = definition.conditions
        if conditions and self.only is None and not any(map(self.holds, conditions)):
            wanted = " or ".join(f"{c.kind.value} {c.value}" for c in conditions)
            return ServiceState.SKIPPED, f"needs {wanted}"
        return None

    async def wait_online(self) -> bool:
        """Wait for the network, as long as the configuration says; whether it is there."""
        return await online.wait(online.limit_s(self.configuration))

    def holds(self, condition: Condition) -> bool:
        match condition.kind:
            case ConditionKind.PATH:
                return os.path.exists(condition.value)
            case ConditionKind.VIRTIO_PORT:
                return find_port(condition.value) is not None
            case ConditionKind.KERNEL_PARAMETER:
                return any(
                    key == condition.value for key, _ in split_command_line(self.command_line)
                )
            case ConditionKind.CONFIGURED:
                return self.configuration.is_configured(condition.value)
