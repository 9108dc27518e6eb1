"""One container: its owner task, which alone changes its state.

Everybody else calls the public coroutines, which ask the owner (`engine.owner`) for an operation;
each sees the state as the one before left it. An operation never waits for the container's end:
that comes as an operation of its own, as do expired timers. Whoever wants to know waits with
`wait_until`.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from typing import TYPE_CHECKING

from orlop.engine import exec_session, health, launch, spec, userns, volume_fill, volume_mounts
from orlop.engine.confinement import Confinement, read_boot_id, read_start_ticks
from orlop.engine.container_io import ContainerIO, close_theirs
from orlop.engine.layout import Layout
from orlop.engine.log_writer import LogWriter
from orlop.engine.owner import Owner
from orlop.engine.restart import Backoff, wants_restart, wants_start_with_engine
from orlop.engine.runtime import StartError, Terminal
from orlop.engine.state import (
    ContainerInfo,
    Health,
    State,
    WaitCondition,
    check_transition,
)
from orlop.lib.children import UNKNOWN_STATUS, Child, ExitStatus
from orlop.lib.errors import (
    Conflict,
    Internal,
    InvalidArgument,
    NotModified,
    OrlopError,
    ResourceExhausted,
    Unavailable,
)
from orlop.wire.compose_model import RestartMode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from orlop.engine.config import ContainerConfig, Resources
    from orlop.engine.host import Host
    from orlop.engine.images import Image
    from orlop.engine.log_syslog import SyslogForwarder
    from orlop.engine.record import Record
    from orlop.wire.compose_model import RestartPolicy

log = logging.getLogger(__name__)

DEFAULT_STOP_SIGNAL = "SIGTERM"

KILL_LIMIT_S = 10.0
"""How long a killed process may take to be gone; the kernel may be busy with its memory."""


class Container:
    """See the module. `record` and `io` are for reading; only methods here change them."""

    def __init__(self, host: Host, record: Record) -> None:
        self.host = host
        self.record = record
        self.layout = Layout(host.settings, record.id)
        limits = record.config.log_limits or host.settings.log_limits
        self.log = LogWriter(self.layout.logs, limits)
        self.io = ContainerIO(
            self.layout,
            self.log,
            keep=record.config.log_driver != "none",
            tap=_make_tap(host, record),
        )
        self.execs: dict[str, exec_session.ExecSession] = {}
        self.health_tracker: health.HealthTracker | None = None
        self.exits = 0
        """How often it has ended since this engine knows it."""
        self.removed = False
        self._root_holds = 0
        self._root_mounted = False
        """By `hold_root`, for who looks at the files while it does not run."""
        self._may_hold = True
        """Whether there may be mounts, a cgroup and the like to release."""
        self.on_removed: Callable[[Container], None] = lambda container: None
        self._owner = Owner(f"container {record.config.name}")
        self._confinement = Confinement(host, self.layout, record)
        self._changed = asyncio.Event()
        self._backoff = Backoff()
        self._health_task: asyncio.Task[None] | None = None
        self._no_restart = False
        self._started_s = 0.0

    # What others may call.

    @property
    def name(self) -> str:
        return self.record.config.name

    @property
    def config(self) -> ContainerConfig:
        return self.record.config

    @property
    def cgroup(self) -> Path:
        return self._confinement.cgroup

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

    def run_owner(self) -> None:
        """Start the owner task; before that, operations wait."""
        self._owner.start(self.host.tasks)

    async def start(self) -> None:
        await self._owner.ask(self._start)

    async def stop(self, grace_s: float | None, signal_name: str | None) -> None:
        """Signal, grace, KILL; returns when it has ended."""
        if not self.record.state.is_up and self.record.state is not State.RESTARTING:
            raise NotModified(f"container {self.name} is not running")
        number = spec.parse_signal(signal_name) if signal_name else self._stop_signal()
        wait_s = self.config.stop_grace_period_s if grace_s is None else grace_s
        await self._owner.ask(lambda: self._begin_stop(number, wait_s))
        await self.wait_until(lambda: not self._is_active())
        if self.config.restart.mode is not RestartMode.NO:
            await self.flush()
        self.publish("stop")

    async def end(self) -> None:
        """As `stop`, because the machine ends: its restart policy holds for the next start."""
        number, grace_s = self._stop_signal(), self.config.stop_grace_period_s
        # Also if it is not active: its owner may be about to start it.
        await self._owner.ask(lambda: self._begin_stop(number, grace_s, by_hand=False))
        await self.wait_until(lambda: not self.record.state.is_up)

    async def kill(self, number: int, *, last: bool = True) -> None:
        """Send a signal; after SIGKILL, wait for the end.

        As for Docker, no policy starts it again after that. Without *last*, the policy still does.

        Raises:
            Conflict: it does not run. Internal: SIGKILL did not end it.
        """
        before = self.exits
        await self._owner.ask(lambda: self._kill(number, last=last))
        if number == signal.SIGKILL:
            try:
                async with asyncio.timeout(KILL_LIMIT_S):
                    await self.wait_until(lambda: not self._is_active() or self.exits > before)
            except TimeoutError:
                reason = "tried to kill container, but did not receive an exit event"
                raise Internal(reason) from None

    async def restart(self, grace_s: float | None) -> None:
        if self._is_active():
            await self.stop(grace_s, None)
        await self.start()
        self.publish("restart")

    async def pause(self) -> None:
        await self._owner.ask(self._pause)

    async def unpause(self) -> None:
        await self._owner.ask(self._unpause)

    async def remove(self, *, force: bool, volumes: bool = False) -> None:
        while not self.removed:
            if force and self._is_active():
                await self._owner.ask(self._begin_forced_removal)
                await self.wait_until(lambda: not self._is_active() or self.removed)
                if self.removed:
                    break
            try:
                await self._owner.ask(lambda: self._remove(force=force, volumes=volumes))
            except Conflict:
                # A start was under way before.
                if not force or not self._is_active():
                    raise
        if self.config.restart.mode is not RestartMode.NO:
            await self.flush()

    async def hold_root(self) -> None:
        """Have the root file system mounted at `layout.rootfs` until `drop_root`.

        Raises:
            OrlopError: it cannot be mounted.
        """
        held = False

        async def hold() -> None:
            nonlocal held
            await self._hold_root()
            held = True

        async def undo() -> None:
            if held:
                await self._drop_root()

        try:
            await self._owner.ask(hold)
        except asyncio.CancelledError:
            # It is done all the same, by now or later.
            self._owner.tell(undo)
            raise

    async def userns_fd(self) -> int:
        """A user namespace with the container's numbers; -1 if they are the host's.

        Raises:
            Internal: the kernel does not let us.
        """
        first_and_count = self.config.uid_map
        return await self.host.user_namespaces.get(
            (first_and_count[0], first_and_count[1]) if first_and_count else None
        )

    def drop_root(self) -> None:
        """Undo `hold_root`, soon."""
        self._owner.tell(self._drop_root)

    async def perform(self, operation: Callable[[], Awaitable[None]]) -> None:
        """Have *operation* done when nothing else changes the container."""
        await self._owner.ask(operation)

    def replace_config(self, config: ContainerConfig) -> None:
        """Store another configuration; for an operation of the owner's."""
        self.record.config = config
        self._save()

    async def rename(self, name: str) -> str:
        """Give it another name; the one it had. `flush` when nothing knows it by that."""
        old = ""

        async def operation() -> None:
            nonlocal old
            old = self.name
            await self._rename(name)

        await self._owner.ask(operation)
        return old

    async def update(self, policy: RestartPolicy | None, resources: Resources | None) -> None:
        await self._owner.ask(lambda: self._update(policy, resources))
        await self.flush()

    async def flush(self) -> None:
        """Wait until what is known of it is on disk, where it is to be.

        Raises:
            ResourceExhausted: the disk does not take it.
        """
        try:
            await self.host.records.flush()
        except OSError as error:
            raise ResourceExhausted(f"cannot store container {self.name}: {error}") from error

    async def wait(self, condition: WaitCondition) -> int:
        """Wait for *condition*; the exit code then."""
        before = self.exits
        match condition:
            case WaitCondition.NOT_RUNNING:
                # Also when its policy starts it again.
                await self.wait_until(lambda: not self._is_active() or self.exits > before)
            case WaitCondition.NEXT_EXIT:
                await self.wait_until(lambda: self.exits > before or self.removed)
            case WaitCondition.REMOVED:
                await self.wait_until(lambda: self.removed)
        return self.record.exit_code

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until *condition* holds; looked at after each change of state or health."""
        while not condition():
            await self._changed.wait()

    def publish(self, action: str, extra: Mapping[str, str] | None = None) -> None:
        """Tell the world, with the attributes Docker gives."""
        attributes = {**dict(self.config.labels), "image": self.config.image, "name": self.name}
        self.host.events.publish(
            "container", action, self.record.id, {**attributes, **(extra or {})}
        )

    def adopt_running(self, descriptors: Mapping[str, int]) -> None:
        """Take over the container that an earlier engine started, before the owner task runs.

        *descriptors* are those kept over `execve`. If its process is gone, or the number now
        belongs to another, the container counts as ended with an unknown status.
        """
        if self.record.state is State.RESTARTING:
            self._owner.later(0.0, self._restart_now)
            return
        if not self.record.state.is_up:
            return
        same = self.record.boot_id in ("", read_boot_id())
        if "master" in descriptors:
            self.io.attach_terminal(descriptors["master"])
        elif same and not self.config.tty:
            self._reopen_pipes()
        if "stdin" in descriptors:
            self.io.adopt_stdin(descriptors["stdin"])
        for name in volume_mounts.names_of(self.config):
            self.host.volumes.adopt(name, self.record.id)
        self._started_s = time.monotonic() - max(time.time_ns() - self.record.started_ns, 0) / 1e9
        child = self._adopt_process() if same else None
        if child is None:
            if self.host.records.durable and self.config.restart.mode is RestartMode.ALWAYS:
                self.record.manually_stopped = False  # a start of the engine starts it
            child = Child(self.record.pid)
            child.finish(UNKNOWN_STATUS)
        self._watch(child)
        self.io.start()
        if child.status is None and self.record.state is State.RUNNING:
            self._begin_health(self.record.health)

    def _adopt_process(self) -> Child | None:
        """Its init, watched or known to have ended; None if there is no such process any more."""
        try:
            child = self.host.children.adopt(self.record.pid)
        except OSError:
            return None
        return child if child.status is not None or self.is_same_process() else None

    def detach(self) -> None:
        """Let go without touching the container: the engine ends or is replaced."""
        self._owner.cancel_timer()
        self.io.close()
        self.log.close()

    def clean_up_later(self) -> None:
        """Undo what a start left that a crash of the engine interrupted."""
        self._owner.tell(self._release_if_down)

    def remove_later(self) -> None:
        """Remove it with its anonymous volumes; nobody waits for that."""
        self._owner.tell(self._remove_leftover)

    def begin_anew(self) -> None:
        """Do what a durable engine does at its start with a container that does not run."""
        if self._is_active():
            return
        if self.config.auto_remove:
            self.remove_later()
        elif wants_start_with_engine(
            self.config.restart,
            exit_code=self.record.exit_code,
            manually_stopped=self.record.manually_stopped,
        ):
            self._owner.tell(self._start_with_engine)

    async def exec_create(self, request: exec_session.ExecRequest) -> exec_session.ExecSession:
        """Register a further process; it is started by `ExecSession.start`."""
        if self.record.state is State.PAUSED:
            raise Conflict(
                f"Container {self.record.id} is paused, unpause the container before exec"
            )
        if self.record.state is not State.RUNNING:
            raise Conflict(f"container {self.record.id} is not running")
        return exec_session.ExecSession(self, request)

    def image(self) -> Image:
        """The image it was made from.

        Raises:
            NotFound: it is no more.
        """
        return self.host.images.for_container(self.record.image_id, self.config.image)

    # The owner task and what it does.

    async def _release(self) -> None:
        """Undo what a start made; never raises."""
        if not self._may_hold:
            return
        self._root_mounted = False
        await self._confinement.release()
        await volume_mounts.release(self.host, self.layout, self.config, self.record.id)
        self._may_hold = False

    async def _hold_root(self) -> None:
        if not self.record.state.is_up and not self._root_mounted:
            try:
                self.layout.run.mkdir(parents=True, exist_ok=True, mode=0o711)
                self.layout.data.mkdir(parents=True, exist_ok=True, mode=0o710)
            except OSError as error:
                raise Internal(f"cannot mount the root file system: {error}") from error
            image = self.image()
            self._may_hold = True
            await self.host.images.mount(image, self.record.id)
            launch.mount_root(self.layout, image, self.config, await self.userns_fd())
            self._root_mounted = True
        self._root_holds += 1

    async def _drop_root(self) -> None:
        self._root_holds -= 1
        if not self._root_holds and not self.record.state.is_up:
            self._root_mounted = False
            await self._confinement.release()

    def _is_active(self) -> bool:
        return self.record.state.is_up or self.record.state is State.RESTARTING

    def _set_state(self, state: State) -> None:
        check_transition(self.record.state, state)
        self.record.state = state
        # A removal is told by what is no more: interrupted, it has not begun.
        if state is not State.REMOVING:
            self._save_state()
        self._notify()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _save(self) -> None:
        self._store(self.host.records.save)

    def _save_state(self) -> None:
        self._store(self.host.records.save_state)

    def _store(self, save: Callable[[Record], None]) -> None:
        try:
            save(self.record)
        except OSError as error:
            # The container goes on; only a crash of the engine now would lose this change.
            self.host.warn(f"cannot store the state of container {self.name}: {error}, ignoring")

    async def _start(self) -> None:
        match self.record.state:
            case State.RUNNING:
                raise NotModified(f"container {self.name} is already running")
            case State.PAUSED:
                raise Conflict("cannot start a paused container, try unpause instead")
            case State.REMOVING | State.DEAD:
                raise Conflict("container is marked for removal and cannot be started")
            case State.RESTARTING:
                self._owner.cancel_timer()
            case State.CREATED | State.EXITED:
                pass
        self.record.manually_stopped = False
        self.record.restart_count = 0
        self._no_restart = False
        self._backoff.reset()
        await self._launch()

    async def _launch(self) -> None:
        if self.host.ending:
            raise Unavailable("the engine is ending all containers")
        self._may_hold = True
        try:
            image = self.image()
            if self.host.networks is not None:
                await self.host.networks.sandboxes.attach(self.record, self.layout)
                namespace = self.host.networks.sandboxes.namespace_of(self.record.id)
                if self.config.uid_map and namespace >= 0:
                    await asyncio.to_thread(userns.open_low_ports, namespace)
            await self.host.images.mount(image, self.record.id)
            volumes = await volume_mounts.attach(
                self.host, self.layout, self.config, self.record.id, await self.userns_fd()
            )
            # In a thread: on a busy disk each of its system calls may take milliseconds.
            await asyncio.to_thread(
                launch.prepare,
                self.host,
                self.layout,
                self.record,
                image,
                volumes,
                root_is_mounted=self._root_mounted,
                userns_fd=await self.userns_fd(),
            )
            unfilled = volume_fill.wanted(self.host, self.config, creating=False)
            await volume_fill.fill(
                self.host, unfilled, self.layout.rootfs, self.record.id, await self.userns_fd()
            )
            child = await self._run(image)
        except OrlopError as error:
            await self._launch_failed(error)
            raise
        except Exception as error:
            # Whatever it is: nothing of it stays, and a restart policy goes on.
            if not isinstance(error, OSError):
                log.exception("container %s: internal error", self.name)
            failure = Internal(f"cannot start container {self.name}: {error}")
            await self._launch_failed(failure)
            raise failure from error
        self.record.error = ""
        self.record.oom_killed = False
        self.record.exit_code = 0
        self.record.pid = child.pid
        self.record.pid_started_ticks = read_start_ticks(child.pid)
        self.record.boot_id = read_boot_id()
        self.record.started_ns = time.time_ns()
        self.record.finished_ns = 0
        self._started_s = time.monotonic()
        self._set_state(State.RUNNING)
        self.publish("start")
        self._watch(child)
        self.io.start()
        self._begin_health()

    async def _run(self, image: Image) -> Child:
        terminal = None
        theirs: dict[int, int] = {}
        try:
            theirs = self.io.open(terminal=self.config.tty, stdin=self.config.stdin_open)
            if self.config.tty:
                socket_name = self.record.id[:12]
                terminal = Terminal(self.host.settings.run_dir / "tty" / socket_name)
            child = await self.host.runtime.run(
                self.record.id, self.layout.run, theirs, terminal.path if terminal else None
            )
            if terminal is not None:
                self.io.attach_terminal(terminal.receive())
        except OSError as error:
            raise Unavailable(f"cannot start container {self.name}: {error}") from error
        finally:
            close_theirs(theirs)
            if terminal is not None:
                terminal.close()
        return child

    async def _launch_failed(self, error: OrlopError) -> None:
        self.record.error = str(error)
        self.record.exit_code = error.exit_code if isinstance(error, StartError) else 128
        self.io.close()
        # Whoever attached before the start waits for an end that would never come.
        self.io.listeners.finish()
        await self._release()
        if self.record.state is State.RESTARTING:
            self._set_state(State.EXITED)
        else:
            self._save_state()
            self._notify()
        if self.config.auto_remove:
            await self._remove(force=True, volumes=True)

    def _watch(self, child: Child) -> None:
        def ended(child: Child, status: ExitStatus) -> None:
            self._owner.tell(lambda: self._ended(child, status))

        self._confinement.watch(child, ended)

    async def _ended(self, child: Child, status: ExitStatus) -> None:
        if child is not self._confinement.child:
            return
        ended_ns, ran_s = time.time_ns(), time.monotonic() - self._started_s
        self._confinement.child = None
        self._owner.cancel_timer()
        self._end_health()
        oom_killed = self._confinement.ran_out_of_memory()
        if self.config.pid != "private":
            # Whom it has left behind may still be writing. In a PID namespace nobody is left.
            await self._release()
        self.io.finish()
        for session in tuple(self.execs.values()):
            session.container_ended()
        # From here to the change of state nothing is awaited: nobody sees half of it.
        self.record.oom_killed = oom_killed
        self.record.exit_code = status.code
        self.record.error = "" if status.known else "ended while no engine was watching"
        self.record.finished_ns = ended_ns
        self.record.pid = 0
        if self.record.oom_killed:
            self.publish("oom")
        attributes = {"exitCode": str(status.code), "execDuration": str(int(ran_s))}
        again = not self._no_restart and wants_restart(
            self.config.restart,
            exit_code=status.code,
            manually_stopped=self.record.manually_stopped,
            restart_count=self.record.restart_count,
        )
        self.exits += 1
        if again:
            self._set_state(State.RESTARTING)
            self._owner.later(self._backoff.delay_after(ran_s), self._restart_now)
        else:
            self._set_state(State.EXITED)
        self.publish("die", attributes)
        # Takes no time, and who sees the end may want its addresses and ports.
        self.host.release_network(self.record.id)
        # Nobody who waits for the end waits for this; a next start or removal comes after it.
        await self._release()
        if self.config.auto_remove and not again:
            await self._remove(force=True, volumes=True)

    async def _restart_now(self) -> None:
        if self.record.state is not State.RESTARTING:
            return
        self.record.restart_count += 1
        await self._launch_by_policy()

    async def _start_with_engine(self) -> None:
        if self.record.state in (State.CREATED, State.EXITED):
            self.record.manually_stopped = False
            async with self.host.starting:
                await self._launch_by_policy()

    async def _launch_by_policy(self) -> None:
        try:
            await self._launch()
        except OrlopError as error:
            log.warning("container %s does not start again: %s", self.name, error)
            if wants_restart(
                self.config.restart,
                exit_code=self.record.exit_code,
                manually_stopped=self.record.manually_stopped,
                restart_count=self.record.restart_count,
            ):
                self._set_state(State.RESTARTING)
                self._owner.later(self._backoff.delay_after(0.0), self._restart_now)

    async def _begin_stop(self, number: int, grace_s: float, *, by_hand: bool = True) -> None:
        if by_hand:
            self.record.manually_stopped = True
        self._no_restart = True
        if self.record.state is State.RESTARTING:
            self._owner.cancel_timer()
            if by_hand:
                self._set_state(State.EXITED)
            return
        if self._confinement.child is None or not self.record.state.is_up:
            return
        self._confinement.send(number)
        self.publish("kill", {"signal": str(number)})
        self._thaw()
        # A negative grace time is without end, as for Docker.
        if grace_s >= 0:
            child = self._confinement.child
            self._owner.later(grace_s, lambda: self._grace_expired(child))

    async def _grace_expired(self, child: Child) -> None:
        if child is self._confinement.child:
            self._confinement.kill()
            self.publish("kill", {"signal": "9"})

    async def _begin_forced_removal(self) -> None:
        self._no_restart = True
        self.record.manually_stopped = True
        if self.record.state is State.RESTARTING:
            self._owner.cancel_timer()
            self._set_state(State.EXITED)
        elif self.record.state.is_up:
            self._confinement.kill()
            self.publish("kill", {"signal": "9"})

    async def _kill(self, number: int, *, last: bool) -> None:
        if not self.record.state.is_up or self._confinement.child is None:
            raise Conflict(f"Cannot kill container: {self.name}: container is not running")
        if last:
            if number in (9, self._stop_signal()):
                self._no_restart = True
            self.record.manually_stopped = True
        if number == 9:
            self._confinement.kill()
        else:
            self._confinement.send(number)
        self.publish("kill", {"signal": str(number)})

    async def _pause(self) -> None:
        if self.record.state is State.PAUSED:
            raise Conflict(f"Container {self.name} is already paused")
        if self.record.state is not State.RUNNING:
            raise Conflict(f"Container {self.name} is not running")
        self._confinement.freeze(frozen=True)
        self._set_state(State.PAUSED)
        self._end_health()
        self.publish("pause")

    async def _unpause(self) -> None:
        if self.record.state is not State.PAUSED:
            raise Conflict(f"Container {self.name} is not paused")
        self._confinement.freeze(frozen=False)
        self._set_state(State.RUNNING)
        self._begin_health()
        self.publish("unpause")

    async def _remove(self, *, force: bool, volumes: bool = False) -> None:
        if self._is_active():
            raise Conflict(
                f'cannot remove container "{self.name}": container is {self.record.state}: '
                "stop the container before removing or force remove"
            )
        self._set_state(State.REMOVING)
        self.io.finish()
        await self._release()
        try:
            self.host.data_trash.put(self.layout.data)
            self.host.run_trash.put(self.layout.run)
        except OSError as error:
            self.record.error = f"cannot be deleted: {error}"
            self._set_state(State.DEAD)
            raise Internal(f"cannot delete container {self.name}: {error}") from error
        self.host.records.removed(self.record)
        self.record.state = State.DEAD
        self.removed = True
        self._owner.retire()
        self.on_removed(self)
        if volumes:
            names = volume_mounts.names_of(self.config)
            await volume_mounts.remove_anonymous(self.host.volumes, names)
        self._notify()
        self.log.wake()
        self.publish("destroy")

    async def _remove_leftover(self) -> None:
        await self._remove(force=True, volumes=True)

    async def _rename(self, name: str) -> None:
        import dataclasses

        old = self.name
        self.record.config = dataclasses.replace(self.config, name=name)
        self._save()
        if self.host.networks is not None:
            self.host.networks.sandboxes.renamed(self.record, self.layout)
        self.publish("rename", {"oldName": f"/{old}"})

    async def _update(self, policy: RestartPolicy | None, resources: Resources | None) -> None:
        import dataclasses

        config = self.config
        if policy is not None:
            if config.auto_remove and policy.mode != "no":
                raise InvalidArgument(
                    "Restart policy cannot be updated because AutoRemove is enabled for the "
                    "container"
                )
            config = dataclasses.replace(config, restart=policy)
        if resources is not None:
            config = dataclasses.replace(config, resources=resources)
            if self.record.state.is_up:
                from orlop.engine.limits import apply_limits

                devices = tuple(launch.find_io_devices(resources))
                apply_limits(self.host, self.cgroup, resources, devices)
        self.record.config = config
        self._save()
        self.publish("update")

    async def _release_if_down(self) -> None:
        if not self.record.state.is_up:
            await self._release()

    def _thaw(self) -> None:
        if self.record.state is State.PAUSED:
            self._confinement.freeze(frozen=False)
            self._set_state(State.RUNNING)

    def _stop_signal(self) -> int:
        name = self.config.stop_signal
        if not name:
            try:
                name = self.image().stop_signal
            except OrlopError:
                name = ""
        return spec.parse_signal(name or DEFAULT_STOP_SIGNAL)

    def _begin_health(self, known: Health = Health.STARTING) -> None:
        check = self.config.healthcheck
        if check is None:
            try:
                check = self.image().healthcheck
            except OrlopError:
                check = None
        if check is None or not check.command:
            self.record.health = Health.NONE
            self.health_tracker = None
            return
        self.health_tracker = health.HealthTracker(check, known)
        self.record.health = self.health_tracker.health
        argv = check.command

        async def probe() -> tuple[int, bytes]:
            return await exec_session.run_probe(self, argv, limit_bytes=health.OUTPUT_LIMIT_BYTES)

        work = health.watch(self.health_tracker, check, probe, self._health_reported)
        self._health_task = self.host.tasks.start(work, f"health of {self.name}")

    def _end_health(self) -> None:
        if self._health_task is not None:
            self._health_task.cancel()
            self._health_task = None

    def _health_reported(self, state: Health) -> None:
        if state is self.record.health or not self.record.state.is_up:
            return
        self.record.health = state
        self._save_state()
        self._notify()
        self.publish(f"health_status: {state}")

    def _reopen_pipes(self) -> None:
        try:
            self.io.reopen(stdin=self.config.stdin_open)
        except OSError as error:
            log.warning("the output of container %s is lost: %s, ignoring", self.name, error)

    def is_same_process(self) -> bool:
        """Whether the number of its init is not another process's by now."""
        return read_start_ticks(self.record.pid) == self.record.pid_started_ticks


def _make_tap(host: Host, record: Record) -> SyslogForwarder | None:
    if record.config.log_driver != "syslog":
        return None
    from orlop.engine.log_syslog import SyslogForwarder

    return SyslogForwarder(record, host.tasks)
