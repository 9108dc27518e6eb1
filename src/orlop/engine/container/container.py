"""One container, as the engine, the API and its neighbours see it.

Everybody calls the public coroutines, which ask the owner (`engine.container.owner`) for an
operation; each sees the state as the one before left it, and only operations change it. An
operation never waits for the container's end: that comes as an operation of its own, as do expired
timers. Whoever wants to know waits with `wait_until`. What the operations do is told in the modules
that `engine.container.core` names.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from orlop.engine.container import changes, exec_session, launch, takeover
from orlop.engine.container.core import Core
from orlop.engine.container.end import Ending
from orlop.engine.container.health import HealthWatch
from orlop.engine.container.removal import Removal
from orlop.engine.container.restart import Restarts
from orlop.engine.container.root import Root
from orlop.engine.container.start import Starting
from orlop.engine.container.state import ContainerInfo, State, WaitCondition
from orlop.engine.runtime import spec
from orlop.engine.runtime.confinement import is_same_process
from orlop.lib.errors import Conflict, NotModified
from orlop.wire.compose_model import RestartMode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from orlop.engine.container.config import ContainerConfig, Resources
    from orlop.engine.container.health_check import HealthTracker
    from orlop.engine.container.record import Record
    from orlop.engine.host import Host
    from orlop.engine.images import Image
    from orlop.wire.compose_model import RestartPolicy

KILL_LIMIT_S = 10.0
"""How long a killed process may take to be gone; the kernel may be busy with its memory."""


class Container:
    """See the module. What is public and no method is for reading."""

    def __init__(self, host: Host, record: Record) -> None:
        self.core = core = Core(host, record)
        self.host = host
        self.record = record
        self.layout = core.layout
        self.log = core.log
        self.io = core.io
        self.execs: dict[str, exec_session.ExecSession] = core.execs
        self.on_removed: Callable[[Container], None] = lambda container: None
        self._owner = core.owner
        self._root = Root(core)
        self._health = HealthWatch(core, self._probe)
        self._removal = Removal(core, self._root, lambda: self.on_removed(self))
        self._restarts = Restarts(core, lambda: self._starting.launch())  # noqa: PLW0108 - made below
        self._ending = Ending(core, self._root, self._health, self._removal, self._restarts)
        self._starting = Starting(core, self._root, self._health, self._removal, self._ending)

    @property
    def name(self) -> str:
        return self.record.config.name

    @property
    def config(self) -> ContainerConfig:
        return self.record.config

    @property
    def cgroup(self) -> Path:
        return self.core.confinement.cgroup

    @property
    def exits(self) -> int:
        """How often it has ended since this engine knows it."""
        return self.core.exits

    @property
    def removed(self) -> bool:
        return self.core.removed

    @property
    def health_tracker(self) -> HealthTracker | None:
        return self._health.tracker

    def info(self) -> ContainerInfo:
        """The container now."""
        known = self.record
        return ContainerInfo(
            known.id,
            known.config,
            known.image_id,
            known.state,
            known.health,
            known.pid,
            known.exit_code,
            known.oom_killed,
            known.error,
            known.restart_count,
            known.created_ns,
            known.started_ns,
            known.finished_ns,
        )

    def image(self) -> Image:
        """See `Core.image`."""
        return self.core.image()

    async def userns_fd(self) -> int:
        """See `Core.userns_fd`."""
        return await self.core.userns_fd()

    def is_same_process(self) -> bool:
        """Whether the number of its init is not another process's by now."""
        return is_same_process(self.record)

    def publish(self, action: str, extra: Mapping[str, str] | None = None) -> None:
        """See `Core.publish`."""
        self.core.publish(action, extra)

    # Before the owner task runs, and the end of the engine.

    def adopt_running(self, descriptors: Mapping[str, int]) -> None:
        """See `container.takeover`."""
        takeover.take_over(self.core, self._ending, self._health, descriptors)

    def run_owner(self) -> None:
        """Start the owner task; before that, operations wait."""
        self._owner.start(self.host.tasks)

    def clean_up_later(self) -> None:
        """Undo what a start left that a crash of the engine interrupted."""
        self._owner.tell(self._root.release_if_down)

    def begin_anew(self) -> None:
        """Do what a durable engine does at its start with a container that does not run."""
        if self.core.is_active:
            return
        if self.config.auto_remove:
            self.remove_later()
        elif self._restarts.wants_start_with_engine():
            self._owner.tell(self._restarts.start_with_engine)

    def detach(self) -> None:
        """Let go without touching the container: the engine ends or is replaced."""
        self._owner.cancel_timer()
        self.io.close()
        self.log.close()

    # Its life.

    async def start(self) -> None:
        await self._owner.ask(self._starting.start)

    async def stop(self, grace_s: float | None, signal_name: str | None) -> None:
        """Signal, grace, KILL; returns when it has ended."""
        if not self.core.is_active:
            raise NotModified(f"container {self.name} is not running")
        number = spec.parse_signal(signal_name) if signal_name else self.core.stop_signal()
        wait_s = self.config.stop_grace_period_s if grace_s is None else grace_s
        await self._owner.ask(lambda: self._ending.stop(number, wait_s))
        limit_s = None if wait_s < 0 else wait_s + KILL_LIMIT_S
        await self.core.wait_for_end(limit_s, f"cannot stop container: {self.name}")
        if self.config.restart.mode is not RestartMode.NO:
            await self.flush()
        self.publish("stop")

    async def end(self) -> None:
        """As `stop`, because the machine ends: its restart policy holds for the next start."""
        number, grace_s = self.core.stop_signal(), self.config.stop_grace_period_s
        # Also if it is not active: its owner may be about to start it.
        await self._owner.ask(lambda: self._ending.stop(number, grace_s, by_hand=False))
        await self.wait_until(lambda: not self.record.state.is_up)

    async def kill(self, number: int, *, last: bool = True) -> None:
        """Send a signal; after SIGKILL, wait for the end.

        As for Docker, no policy starts it again after that. Without *last*, the policy still does.

        Raises:
            Conflict: it does not run. Internal: SIGKILL did not end it.
        """
        before = self.exits
        await self._owner.ask(lambda: self._ending.kill(number, last=last))
        if number == signal.SIGKILL:
            what = f"cannot kill container: {self.name}"
            await self.core.wait_for_end(KILL_LIMIT_S, what, lambda: self.exits > before)

    async def restart(self, grace_s: float | None) -> None:
        if self.core.is_active:
            self._ending.kept = True
            try:
                await self.stop(grace_s, None)
            finally:
                self._ending.kept = False
        await self.start()
        self.publish("restart")

    async def pause(self) -> None:
        await self._owner.ask(lambda: changes.pause(self.core, self._health))

    async def unpause(self) -> None:
        await self._owner.ask(lambda: changes.unpause(self.core, self._health))

    async def remove(self, *, force: bool, volumes: bool = False) -> None:
        while not self.removed:
            if force and self.core.is_active:
                await self._owner.ask(self._ending.end_for_removal)
                what = f'cannot remove container "{self.name}": could not kill container'
                await self.core.wait_for_end(KILL_LIMIT_S, what, lambda: self.removed)
                if self.removed:
                    break
            try:
                await self._owner.ask(lambda: self._removal.remove(volumes=volumes))
            except Conflict:
                # A start was under way before.
                if not force or not self.core.is_active:
                    raise
        if self.config.restart.mode is not RestartMode.NO:
            await self.flush()

    def remove_later(self) -> None:
        """Remove it with its anonymous volumes; nobody waits for that."""
        self._owner.tell(self._removal.remove_leftover)

    async def wait(self, condition: WaitCondition) -> int:
        """Wait for *condition*; the exit code then."""
        before = self.exits
        match condition:
            case WaitCondition.NOT_RUNNING:
                # Also when its policy starts it again.
                await self.wait_until(lambda: not self.core.is_active or self.exits > before)
            case WaitCondition.NEXT_EXIT:
                await self.wait_until(lambda: self.exits > before or self.removed)
            case WaitCondition.REMOVED:
                await self.wait_until(lambda: self.removed)
        return self.record.exit_code

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """See `Core.wait_until`."""
        await self.core.wait_until(condition)

    # What is changed about it, looked at or run in it.

    async def perform(self, operation: Callable[[], Awaitable[None]]) -> None:
        """Have *operation* done when nothing else changes the container."""
        await self._owner.ask(operation)

    def replace_config(self, config: ContainerConfig) -> None:
        """See `Core.replace_config`; for an operation of the owner's."""
        self.core.replace_config(config)

    async def flush(self) -> None:
        """See `Core.flush`."""
        await self.core.flush()

    async def rename(self, name: str) -> str:
        """Give it another name; the one it had. `flush` when nothing knows it by that."""
        old = ""

        async def operation() -> None:
            nonlocal old
            old = self.name
            await changes.rename(self.core, name)

        await self._owner.ask(operation)
        return old

    async def update(self, policy: RestartPolicy | None, resources: Resources | None) -> None:
        await self._owner.ask(lambda: changes.update(self.core, policy, resources))
        await self.flush()

    async def hold_root(self) -> None:
        """See `Root.hold`."""
        await self._root.hold()

    def drop_root(self) -> None:
        """Undo `hold_root`, soon."""
        self._root.drop()

    async def exec_create(self, request: exec_session.ExecRequest) -> exec_session.ExecSession:
        """Register a further process; it is started by `ExecSession.start`."""
        if self.record.state is State.PAUSED:
            raise Conflict(f"Container {self.name} is paused, unpause the container before exec")
        if self.record.state is not State.RUNNING:
            raise Conflict(f"container {self.record.id} is not running")
        if request.user:
            launch.identify(self.layout, request.user, self.config.group_add)
        return exec_session.ExecSession(self, request)

    async def _probe(self, argv: Sequence[str], output: bytearray) -> int:
        return await exec_session.run_probe(self, argv, output)
