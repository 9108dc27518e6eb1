"""What a service can be in, and what `services` needs of others to bring it there."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from orlop.engine.engine import ContainerInfo, Health, State

if TYPE_CHECKING:
    from orlop.engine.container.config import ContainerConfig
    from orlop.engine.events import EventHub
    from orlop.wire.compose_model import Dependency, ServiceDefinition


class ServiceState(StrEnum):
    """What a person is told about a service."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    DISABLED = "disabled"
    SKIPPED = "skipped"


@dataclass(slots=True)
class Service:
    """What `services` knows of one."""

    definition: ServiceDefinition
    source: str
    waits: tuple[Dependency, ...] = ()
    state: ServiceState = ServiceState.WAITING
    reason: str = ""
    attempted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once its first start has succeeded or failed, or will not be tried."""
    up: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while it has been started, or is known to have done its work."""
    started: ServiceDefinition | None = None
    asked: bool = False
    """Somebody wants it to run although it is not enabled."""
    task: asyncio.Task[None] | None = None
    next_s: float = 0.0
    """When its schedule comes next."""


class ContainerEngine(Protocol):
    """What this module needs of `engine.Engine`; tests have a second one."""

    events: EventHub

    def get(self, ref: str) -> ContainerInfo: ...
    async def create(self, config: ContainerConfig, *, replace: bool = False) -> str: ...
    async def start_container(self, ref: str) -> None: ...
    async def stop_container(
        self, ref: str, *, grace_s: float | None = None, signal: str | None = None
    ) -> None: ...
    async def kill_container(
        self, ref: str, signal: str = "SIGKILL", *, last: bool = True
    ) -> None: ...
    async def wait(self, ref: str) -> int: ...
    async def wait_started(self, ref: str, *, healthy: bool = False) -> ContainerInfo: ...
    async def remove_container(
        self, ref: str, *, force: bool = False, volumes: bool = False
    ) -> None: ...


class Provider(Protocol):
    """Where images of services come from that are not part of the system."""

    def is_there(self, image: str) -> bool: ...
    async def provide(self, image: str) -> None: ...
    def adapt(self, config: ContainerConfig) -> ContainerConfig: ...


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """A service at one moment. *started_s* and *next_s* are times of day, 0 for never."""

    name: str
    state: ServiceState
    reason: str
    health: Health
    pid: int
    restarts: int
    started_s: float
    depends_on: tuple[str, ...]
    source: str
    next_s: float = 0.0
    """When its schedule starts it next."""


def describe(info: ContainerInfo) -> tuple[ServiceState, str]:
    """What the engine says about a started service, in the words of this module."""
    match info.state:
        case State.RUNNING | State.PAUSED:
            reason = "does not pass its health check" if info.health is Health.UNHEALTHY else ""
            return ServiceState.RUNNING, "paused" if info.state is State.PAUSED else reason
        case State.RESTARTING:
            return ServiceState.STARTING, f"ended with status {info.exit_code}, will be restarted"
        case State.EXITED | State.DEAD | State.REMOVING if info.exit_code == 0:
            return ServiceState.DONE, ""
        case State.EXITED | State.DEAD | State.REMOVING:
            ago_s = max(0.0, time.time() - info.finished_ns / 1e9)
            return ServiceState.FAILED, f"ended with status {info.exit_code} {ago_s:.0f} s ago"
        case State.CREATED:
            return ServiceState.STARTING, info.error


def in_utc(moment_s: float) -> str:
    """A time of day for people."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment_s))
