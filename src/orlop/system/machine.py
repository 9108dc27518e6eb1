"""What PID 1 knows about the machine it runs, in one place, with one owner.

The stages of the boot write it, the API reads it. Only plain values: whoever wants to know the
state of a container asks the engine.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from orlop.system.boot_channel import BootChannel, uptime_s

if TYPE_CHECKING:
    from orlop.system.parameters import Parameters
    from orlop.system.storage.state import State
    from orlop.wire.compose_model import Json

log = logging.getLogger(__name__)

MAX_WARNINGS = 100
"""Kept for the status; all are in the kernel log."""


class Phase(StrEnum):
    """What the machine as a whole is doing."""

    STARTING = "starting"
    READY = "ready"
    RECOVERY = "recovery"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class StageTime:
    """A stage of the boot, and when it was reached, in seconds since the kernel began."""

    name: str
    uptime_s: float


@dataclass(slots=True)
class Machine:
    """See the module. *release* is the content of release.json."""

    parameters: Parameters
    channel: BootChannel = field(default_factory=BootChannel)
    release: dict[str, str] = field(default_factory=dict)
    phase: Phase = Phase.STARTING
    hostname: str = ""
    state: State | None = None
    stages: list[StageTime] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    reexecutions: int = 0
    health: dict[str, Json] | None = None
    """What was last found out about it: `health.plan.Report.summary`."""

    def stage(self, name: str, at_s: float | None = None) -> None:
        """Note that stage *name* is reached, and tell the host."""
        time = StageTime(name, uptime_s() if at_s is None else at_s)
        self.stages.append(time)
        self.channel.send("stage", name=name, uptime_s=time.uptime_s)
        log.debug("stage %s at %.3f s", name, time.uptime_s)

    def warn(self, text: str) -> None:
        """Report something a person should know: console, log, status, host."""
        log.warning("%s", text)
        if text not in self.warnings:
            self.warnings.append(text)
            del self.warnings[:-MAX_WARNINGS]
        self.channel.send("warning", text=text)

    def withdraw(self, text: str) -> None:
        """What a warning said is over. The log keeps that it was."""
        if text in self.warnings:
            self.warnings.remove(text)
