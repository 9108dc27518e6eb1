"""An engine of the kind that services need, without containers: the second implementation."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

from orlop.engine.engine import ContainerInfo, Health, State
from orlop.engine.events import EventHub
from orlop.lib.errors import NotFound, NotModified

if TYPE_CHECKING:
    from orlop.engine.container.config import ContainerConfig


class FakeEngine:
    """Containers are entries of a dictionary; `calls` records what was asked, in order."""

    def __init__(self) -> None:
        self.events = EventHub()
        self.calls: list[str] = []
        self.infos: dict[str, ContainerInfo] = {}
        self.broken: dict[str, Exception] = {}
        """Errors that starting a container raises, by name."""
        self.stop_delays_s: dict[str, float] = {}
        self.exit_codes: dict[str, int] = {}
        """Containers that end at once, with this status."""
        self.unhealthy: set[str] = set()

    def get(self, ref: str) -> ContainerInfo:
        if ref not in self.infos:
            raise NotFound(f"no container {ref}")
        return self.infos[ref]

    def change(self, name: str, action: str, **values: object) -> None:
        """Change the container and publish *action*."""
        self.infos[name] = dataclasses.replace(self.infos[name], **values)  # type: ignore[arg-type]
        code = str(self.infos[name].exit_code)
        self.events.publish("container", action, name, {"name": name, "exitCode": code})

    async def create(self, config: ContainerConfig, *, replace: bool = False) -> str:
        self.calls.append(f"create {config.name}")
        self.infos.setdefault(
            config.name,
            ContainerInfo(
                id=config.name,
                image_id=config.image,
                config=config,
                state=State.CREATED,
                health=Health.NONE,
                pid=0,
                exit_code=0,
                oom_killed=False,
                error="",
                restart_count=0,
                created_ns=1,
                started_ns=0,
                finished_ns=0,
            ),
        )
        return config.name

    async def start_container(self, ref: str) -> None:
        self.calls.append(f"start {ref}")
        await asyncio.sleep(0)
        if ref in self.broken:
            raise self.broken[ref]
        if self.get(ref).state is State.RUNNING:
            raise NotModified(f"{ref} runs")
        if ref in self.exit_codes:
            code = self.exit_codes[ref]
            self.change(ref, "die", state=State.EXITED, exit_code=code, finished_ns=2)
        else:
            health = Health.UNHEALTHY if ref in self.unhealthy else Health.HEALTHY
            self.change(ref, "start", state=State.RUNNING, pid=100, health=health, started_ns=1)

    async def stop_container(
        self, ref: str, *, grace_s: float | None = None, signal: str | None = None
    ) -> None:
        if self.get(ref).state is not State.RUNNING:
            raise NotModified(f"{ref} does not run")
        await asyncio.sleep(self.stop_delays_s.get(ref, 0))
        self.calls.append(f"stop {ref}")
        self.change(ref, "die", state=State.EXITED, pid=0, exit_code=0)

    async def kill_container(self, ref: str, signal: str = "SIGKILL", *, last: bool = True) -> None:
        self.calls.append(f"{'kill' if last else 'tell'} {ref} {signal}")

    async def wait(self, ref: str) -> int:
        return self.get(ref).exit_code

    async def wait_started(self, ref: str, *, healthy: bool = False) -> ContainerInfo:
        return self.get(ref)

    async def remove_container(
        self, ref: str, *, force: bool = False, volumes: bool = False
    ) -> None:
        self.get(ref)
        self.calls.append(f"remove {ref}")
        del self.infos[ref]
