"""What a container is doing, which changes are possible, and how it looks from outside."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from orlop.lib.errors import Conflict

if TYPE_CHECKING:
    from orlop.engine.container.config import ContainerConfig


class State(StrEnum):
    """Docker's words for what a container is doing."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"

    @property
    def is_up(self) -> bool:
        """Whether it has processes."""
        return self in (State.RUNNING, State.PAUSED)


class Health(StrEnum):
    """Docker's words for the result of health checks; NONE without a health check."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class WaitCondition(StrEnum):
    """What `Engine.wait` waits for."""

    NOT_RUNNING = "not-running"
    NEXT_EXIT = "next-exit"
    REMOVED = "removed"


TRANSITIONS = {
    State.CREATED: {State.RUNNING, State.REMOVING, State.RESTARTING, State.EXITED},
    State.RUNNING: {State.PAUSED, State.EXITED, State.RESTARTING},
    State.PAUSED: {State.RUNNING, State.EXITED, State.RESTARTING},
    State.RESTARTING: {State.RUNNING, State.EXITED, State.REMOVING},
    State.EXITED: {State.RUNNING, State.RESTARTING, State.REMOVING},
    State.REMOVING: {State.DEAD},
    State.DEAD: {State.REMOVING},
}
"""From each state, where it can go. DEAD: removing failed half way; it can be tried again."""


def check_transition(old: State, new: State) -> None:
    """Refuse a change that has no meaning: it would be a bug of ours.

    Raises:
        Conflict: always when the change is not in `TRANSITIONS`.
    """
    if new not in TRANSITIONS[old]:
        raise Conflict(f"a container that is {old} cannot become {new}")


@dataclass(frozen=True, slots=True)
class ContainerInfo:
    """A container at one moment. Times are CLOCK_REALTIME; 0 is "never"."""

    id: str
    config: ContainerConfig
    image_id: str
    state: State
    health: Health
    pid: int
    """PID of the container's init in the engine's PID namespace; 0 when not running."""
    exit_code: int
    oom_killed: bool
    error: str
    """Why the last start failed, in words; empty if it did not."""
    restart_count: int
    created_ns: int
    started_ns: int
    finished_ns: int
