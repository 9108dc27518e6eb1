"""How one container ends: signals and grace time, and what its end brings about.

An operation never waits for the end; that comes as an operation of its own.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from orlop.engine.container import changes
from orlop.engine.container.state import State
from orlop.lib.errors import Conflict

if TYPE_CHECKING:
    from orlop.engine.container.core import Core
    from orlop.engine.container.health import HealthWatch
    from orlop.engine.container.removal import Removal
    from orlop.engine.container.restart import Restarts
    from orlop.engine.container.root import Root
    from orlop.lib.children import Child, ExitStatus


class Ending:
    """Operations of the owner's, but `watch`."""

    def __init__(
        self, core: Core, root: Root, health: HealthWatch, removal: Removal, restarts: Restarts
    ) -> None:
        self._core = core
        self._root = root
        self._health = health
        self._removal = removal
        self.restarts = restarts
        self.kept = False
        """Also with `--rm`: somebody waits for the end to start it again."""

    def watch(self, child: Child) -> None:
        """*child* is the container's init from now on."""

        def ended(child: Child, status: ExitStatus) -> None:
            self._core.owner.tell(lambda: self._ended(child, status))

        self._core.confinement.watch(child, ended)

    async def stop(self, number: int, grace_s: float, *, by_hand: bool = True) -> None:
        """Send signal *number*, and KILL after *grace_s* seconds; below 0 never."""
        core = self._core
        if by_hand:
            core.record.manually_stopped = True
        self.restarts.forbidden = True
        if core.record.state is State.RESTARTING:
            core.owner.cancel_timer()
            if by_hand:
                core.set_state(State.EXITED)
            return
        if core.confinement.child is None or not core.record.state.is_up:
            return
        core.confinement.send(number)
        core.publish("kill", {"signal": str(number)})
        changes.thaw(core)
        # A negative grace time is without end, as for Docker.
        if grace_s >= 0:
            child = core.confinement.child
            core.owner.later(grace_s, lambda: self._grace_expired(child))

    async def end_for_removal(self) -> None:
        """KILL at once, and no policy starts it again."""
        core = self._core
        self.restarts.forbidden = True
        core.record.manually_stopped = True
        if core.record.state is State.RESTARTING:
            core.owner.cancel_timer()
            core.set_state(State.EXITED)
        elif core.record.state.is_up:
            core.confinement.kill()
            core.publish("kill", {"signal": "9"})

    async def kill(self, number: int, *, last: bool) -> None:
        """Send signal *number*; *last*: no policy starts it again.

        Raises:
            Conflict: it does not run.
        """
        core = self._core
        if core.record.state is State.RESTARTING and last and number in (9, core.stop_signal()):
            # Between two runs there is nobody to signal: what is left is not to start again.
            self.restarts.forbidden = core.record.manually_stopped = True
            core.owner.cancel_timer()
            core.set_state(State.EXITED)
            return
        if not core.record.state.is_up or core.confinement.child is None:
            raise Conflict(f"container {core.record.id} is not running")
        if last:
            if number in (9, core.stop_signal()):
                self.restarts.forbidden = True
            core.record.manually_stopped = True
        if number == 9:
            core.confinement.kill()
        else:
            core.confinement.send(number)
        core.publish("kill", {"signal": str(number)})

    async def _grace_expired(self, child: Child) -> None:
        core = self._core
        if child is core.confinement.child:
            core.confinement.kill()
            core.publish("kill", {"signal": "9"})

    async def _ended(self, child: Child, status: ExitStatus) -> None:
        core = self._core
        if child is not core.confinement.child:
            return
        ended_ns, ran_s = time.time_ns(), time.monotonic() - core.started_s
        core.confinement.child = None
        core.owner.cancel_timer()
        self._health.end()
        oom_killed = core.confinement.ran_out_of_memory()
        if core.config.pid != "private":
            # Whom it has left behind may still be writing. In a PID namespace nobody is left.
            await self._root.release()
        core.io.finish()
        for session in tuple(core.execs.values()):
            session.container_ended()
        # From here to the change of state nothing is awaited: nobody sees half of it.
        core.record.oom_killed = oom_killed
        core.record.exit_code = status.code
        core.record.error = "" if status.known else "ended while no engine was watching"
        core.record.finished_ns = ended_ns
        core.record.pid = 0
        if oom_killed:
            core.publish("oom")
        again = not self.restarts.forbidden and self.restarts.wanted()
        removed = core.config.auto_remove and not again and not self.kept
        core.exits += 1
        if again:
            self.restarts.schedule(ran_s)
        else:
            core.set_state(State.EXITED)
        core.publish("die", {"exitCode": str(status.code), "execDuration": str(int(ran_s))})
        # Takes no time, and who sees the end may want its addresses and ports.
        core.host.release_network(core.record.id)
        # Nobody who waits for the end waits for this; a next start or removal comes after it.
        await self._root.release()
        if removed:
            await self._removal.remove(volumes=True)
