"""The container engine, as a library: what PID 1, the user's engine and tests embed.

One event loop, one thread. An `Engine` owns its containers; each container has one task that alone
changes its state (`engine.container`). Everything an engine needs of its host is in
`EngineSettings`. Nothing here ends the process, and a failure that belongs to one container stays
with that container.

Use::

    engine = Engine(settings)
    await engine.start()                        # recovers what an earlier engine left running
    server = await engine.serve(Path("/run/orlop/system.sock"), routes)
    container_id = await engine.create(from_service(definition))
    await engine.start_container("syslog")
    with engine.events.subscribe() as events:   # create, start, health_status: healthy, die ...
        async for event in events: ...
    await engine.stop_container("syslog")       # stop signal, grace time, then KILL
    await engine.close()                        # leaves containers running
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.engine.events import EventHub
from orlop.engine.settings import EngineSettings

if TYPE_CHECKING:
    from orlop.engine.api.router import Route
    from orlop.engine.config import ContainerConfig
    from orlop.lib.children import Children
    from orlop.wire.compose_model import Json


class State(StrEnum):
    """Docker's words for what a container is doing."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


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


@dataclass(frozen=True, slots=True)
class ContainerInfo:
    """A container at one moment. Times are CLOCK_REALTIME; 0 is "never"."""

    id: str
    config: ContainerConfig
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


class Engine:
    """See the module. *ref* is a name, an id or a unique prefix of an id."""

    def __init__(self, settings: EngineSettings, *, children: Children | None = None) -> None:
        """Nothing happens before `start`. *children* may be shared with the embedding program."""
        self.settings = settings
        self.events = EventHub()

    async def start(self, handover: dict[str, Json] | None = None) -> None:
        """Take over what is in *run_dir*: containers found running are watched again.

        *handover* is what `prepare_reexec` of the same PID returned before `execve`. A container
        whose state cannot be read is reported in the log and set aside; the others come up.
        Containers that were to be restarted by policy are.

        Raises:
            OrlopError: *run_dir* itself cannot be used.
        """
        raise NotImplementedError

    async def serve(
        self, socket_path: Path, extra_routes: Sequence[Route] = (), *, mode: int = 0o600
    ) -> None:
        """Answer the Docker API, and *extra_routes*, on *socket_path*, in the background.

        A socket handed over by `prepare_reexec` for the same path is used as it is: no connection
        is refused in between.

        Raises:
            OSError: the socket cannot be made.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Stop serving and watching. Containers go on; a later engine finds them."""
        raise NotImplementedError

    def prepare_reexec(self) -> dict[str, Json]:
        """Make ready for `execve` of this process; what returns goes to `start` of the next image.

        Descriptors that must live on (terminals, listening sockets, stdin of containers) are made
        inheritable and named by number in the result. Call it last, and `execve` at once.
        """
        raise NotImplementedError

    def containers(self) -> list[ContainerInfo]:
        """All containers, newest first."""
        raise NotImplementedError

    def get(self, ref: str) -> ContainerInfo:
        """The container *ref*.

        Raises:
            NotFound: no such container; InvalidArgument: several match.
        """
        raise NotImplementedError

    async def create(self, config: ContainerConfig, *, replace: bool = False) -> str:
        """Make a container, not started, and return its id.

        With *replace* a container of that name which is not running and has another configuration
        is removed first, and an existing one with an equal configuration is kept as it is.

        Raises:
            Conflict: the name is taken. NotFound: no such image. InvalidArgument: what *config* says.
        """
        raise NotImplementedError

    async def start_container(self, ref: str) -> None:
        """Start; returns when the container's command has been executed.

        Raises:
            NotModified: it runs. Internal or InvalidArgument: the runtime refused, with its words.
        """
        raise NotImplementedError

    async def stop_container(
        self, ref: str, *, grace_s: float | None = None, signal: str | None = None
    ) -> None:
        """Stop signal, grace time (both the container's own unless given), then KILL; waits for the end.

        Ends a pending restart. The restart policy does not start it again.

        Raises:
            NotModified: it was not running.
        """
        raise NotImplementedError

    async def restart_container(self, ref: str, *, grace_s: float | None = None) -> None:
        """Stop if running, then start."""
        raise NotImplementedError

    async def kill_container(self, ref: str, signal: str = "SIGKILL") -> None:
        """Send *signal* (name or number) to the container's init.

        Raises:
            Conflict: not running.
        """
        raise NotImplementedError

    async def pause_container(self, ref: str) -> None:
        """Freeze every process of the container."""
        raise NotImplementedError

    async def unpause_container(self, ref: str) -> None:
        """Let it go on."""
        raise NotImplementedError

    async def wait(
        self, ref: str, condition: WaitCondition = WaitCondition.NOT_RUNNING
    ) -> int:
        """Wait for *condition* and return the exit code."""
        raise NotImplementedError

    async def wait_started(self, ref: str, *, healthy: bool = False) -> ContainerInfo:
        """Wait until the container runs (and is healthy), or has ended and will not come back."""
        raise NotImplementedError

    async def remove_container(self, ref: str, *, force: bool = False) -> None:
        """Delete the container with its writable layer and log.

        Raises:
            Conflict: it runs and not *force*.
        """
        raise NotImplementedError

    async def exec_run(
        self, ref: str, argv: Sequence[str], *, timeout_s: float = 30.0
    ) -> tuple[int, bytes]:
        """Run *argv* in the container; its status and the beginning of its output (bounded)."""
        raise NotImplementedError
