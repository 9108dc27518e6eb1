"""How one container starts."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from orlop.engine.container import launch
from orlop.engine.container.state import State
from orlop.engine.container.stdio import close_theirs
from orlop.engine.runtime import userns
from orlop.engine.runtime.confinement import read_boot_id, read_start_ticks
from orlop.engine.runtime.crun import StartError, Terminal
from orlop.engine.volumes import fill, mounts
from orlop.lib.errors import Conflict, Internal, NotModified, OrlopError, Unavailable

if TYPE_CHECKING:
    from orlop.engine.container.core import Core
    from orlop.engine.container.end import Ending
    from orlop.engine.container.health import HealthWatch
    from orlop.engine.container.removal import Removal
    from orlop.engine.container.root import Root
    from orlop.engine.images import Image
    from orlop.lib.children import Child

log = logging.getLogger(__name__)


class Starting:
    """Operations of the owner's; `ending` deals with the end of what is started here."""

    def __init__(
        self, core: Core, root: Root, health: HealthWatch, removal: Removal, ending: Ending
    ) -> None:
        self._core = core
        self._root = root
        self._health = health
        self._removal = removal
        self._ending = ending

    async def start(self) -> None:
        """By hand.

        Raises:
            NotModified: it runs. Conflict: its state does not allow it. Otherwise as `launch`.
        """
        core = self._core
        match core.record.state:
            case State.RUNNING:
                raise NotModified(f"container {core.name} is already running")
            case State.PAUSED:
                raise Conflict("cannot start a paused container, try unpause instead")
            case State.REMOVING | State.DEAD:
                raise Conflict("container is marked for removal and cannot be started")
            case State.RESTARTING:
                core.owner.cancel_timer()
            case State.CREATED | State.EXITED:
                pass
        core.record.manually_stopped = False
        core.record.restart_count = 0
        self._ending.restarts.reset()
        await self.launch()

    async def launch(self) -> None:
        """Mounts, network, runtime; RUNNING afterwards.

        Raises:
            OrlopError: why not; nothing stays of the attempt.
        """
        core = self._core
        if core.host.ending:
            raise Unavailable("the engine is ending all containers")
        self._root.may_hold = True
        try:
            image = core.image()
            await self._prepare(image)
            child = await self._run()
        except OrlopError as error:
            await self._failed(error)
            raise
        except Exception as error:
            # Whatever it is: nothing of it stays, and a restart policy goes on.
            if not isinstance(error, OSError):
                log.exception("container %s: internal error", core.name)
            failure = Internal(f"cannot start container {core.name}: {error}")
            await self._failed(failure)
            raise failure from error
        core.record.error = ""
        core.record.oom_killed = False
        core.record.exit_code = 0
        core.record.pid = child.pid
        core.record.pid_started_ticks = read_start_ticks(child.pid)
        core.record.boot_id = read_boot_id()
        core.record.started_ns = time.time_ns()
        core.record.finished_ns = 0
        core.started_s = time.monotonic()
        core.set_state(State.RUNNING)
        core.publish("start")
        self._ending.watch(child)
        core.io.start()
        self._health.begin()

    async def _prepare(self, image: Image) -> None:
        core, host = self._core, self._core.host
        if host.networks is not None:
            await host.networks.sandboxes.attach(core.record, core.layout)
            namespace = host.networks.sandboxes.namespace_of(core.record.id)
            if core.config.uid_map and namespace >= 0:
                await asyncio.to_thread(userns.open_low_ports, namespace)
        await launch.make_bind_sources(core.config)
        await host.images.mount(image, core.record.id)
        volumes = await mounts.attach(
            host, core.layout, core.config, core.record.id, await core.userns_fd()
        )
        # In a thread: on a busy disk each of its system calls may take milliseconds.
        await asyncio.to_thread(
            launch.prepare,
            host,
            core.layout,
            core.record,
            image,
            volumes,
            root_is_mounted=self._root.mounted,
            userns_fd=await core.userns_fd(),
        )
        unfilled = await fill.wanted(host, core.config, creating=False)
        await fill.fill(host, unfilled, core.layout.rootfs, core.record.id, await core.userns_fd())

    async def _run(self) -> Child:
        core = self._core
        terminal = None
        theirs: dict[int, int] = {}
        core.confinement.clear()
        wanted = core.config.resources
        if wanted.blkio_weight or wanted.io_weights or wanted.io_limits:
            from orlop.engine.container.limits import prepare_io

            await asyncio.to_thread(prepare_io, core.host, core.confinement.cgroup, wanted)
        try:
            theirs = core.io.open(terminal=core.config.tty, stdin=core.config.stdin_open)
            if core.config.tty:
                socket_name = core.record.id[:12]
                terminal = Terminal(core.host.settings.run_dir / "tty" / socket_name)
            child = await core.host.runtime.run(
                core.record.id, core.layout.run, theirs, terminal.path if terminal else None
            )
            if terminal is not None:
                core.io.attach_terminal(terminal.receive())
        except OSError as error:
            raise Unavailable(f"cannot start container {core.name}: {error}") from error
        finally:
            close_theirs(theirs)
            if terminal is not None:
                terminal.close()
        return child

    async def _failed(self, error: OrlopError) -> None:
        core = self._core
        core.record.error = str(error)
        core.record.exit_code = error.exit_code if isinstance(error, StartError) else 128
        core.io.close()
        # Whoever attached before the start waits for an end that would never come.
        core.io.listeners.finish()
        await self._root.release()
        if core.record.state is State.RESTARTING:
            core.set_state(State.EXITED)
        else:
            core.save_state()
            core.notify()
        if core.config.auto_remove:
            await self._removal.remove(volumes=True)
