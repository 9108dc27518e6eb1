"""The end of the machine: poweroff, reboot, halt, in bounded time whatever hangs.

The order, with the longest each part may take:

1.  containers of the user: by their engine, each in its own grace time  `orlop.shutdown.timeout`,
    90 s; then SIGTERM, then SIGKILL                                                    5 s
2.  system services in reverse order of dependency, in parallel, each with its own
    `stop_grace_period`, then SIGKILL             what 1. has left of the 90 s, at least 15 s
3.  SIGKILL to every process that is left, the end of the API                       5 + 5 s
4.  sync, unmount, sync                                                            15 + 20 s
5.  the memory overwrite request of the firmware is withdrawn: this end is an orderly one
6.  the watchdog is closed (poweroff, halt) or left armed (reboot), then reboot(2)

A second request while this goes on, or a forced one, goes to step 3 at once. A failure in any step
is logged, and the next step follows.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from enum import StrEnum
from typing import TYPE_CHECKING

from orlop.lib import cgroup
from orlop.lib.errors import Unavailable
from orlop.lib.linux import RebootCommand, reboot
from orlop.system import cgroups, firmware
from orlop.system.machine import Phase
from orlop.system.storage import unmounting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orlop.system.machine import Machine
    from orlop.system.services.services import Services
    from orlop.system.watchdog import Watchdog

log = logging.getLogger(__name__)

USER_ENGINE = "engine"
SERVICES_LEAST_S = 15.0
"""For the services, when the user's containers have taken all the time that there is."""
USER_GRACE_S = 5.0
TELL_TIMEOUT_S = 2.0
KILL_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 5.0
LOOK_AGAIN_S = 0.1
"""How often it is looked whether processes are gone: asyncio cannot wait for POLLPRI."""


class PowerAction(StrEnum):
    """How the machine ends."""

    POWEROFF = "poweroff"
    REBOOT = "reboot"
    HALT = "halt"


_COMMANDS = {
    PowerAction.POWEROFF: RebootCommand.POWER_OFF,
    PowerAction.REBOOT: RebootCommand.RESTART,
    PowerAction.HALT: RebootCommand.HALT,
}


class Power:
    """Takes requests to end the machine and carries out the first; see the module.

    *services* is None while there are none yet. *stop_engine* ends the API. *end* is reboot(2), or
    what a test puts in its place.
    """

    def __init__(
        self,
        machine: Machine,
        *,
        stop_engine: Callable[[], Awaitable[None]],
        end: Callable[[RebootCommand], None] = reboot,
    ) -> None:
        self._machine = machine
        self._stop_engine = stop_engine
        self._end = end
        self._force = asyncio.Event()
        self._containers_until_s = 0.0
        """Loop time by which all containers should have ended."""
        self.services: Services | None = None
        self.user_signal = "SIGPWR"
        """What has the user's engine end its containers."""
        self.watchdog: Watchdog | None = None
        self.requested: PowerAction | None = None
        self.request_made = asyncio.Event()

    def refuse_while_stopping(self) -> None:
        """For what would be in the way of the end of the machine.

        Raises:
            Unavailable: the machine is going down.
        """
        if self.requested is not None:
            raise Unavailable(f"the machine is going down ({self.requested})")

    def request(self, action: PowerAction, why: str, *, force: bool = False) -> None:
        """End the machine. While that is going on already, hurry instead."""
        if self.requested is not None:
            log.warning("%s again (%s): not waiting any longer", self.requested, why)
            self._force.set()
            return
        log.warning("%s: %s", action, why)
        self.requested = action
        self._machine.phase = Phase.STOPPING
        if force:
            self._force.set()
        self.request_made.set()

    async def serve(self) -> None:
        """Wait for a request and carry it out; returns only where `end` does (in a test)."""
        await self.request_made.wait()
        action = self.requested or PowerAction.POWEROFF
        loop = asyncio.get_running_loop()
        self._containers_until_s = loop.time() + self._machine.parameters.shutdown_s
        self._machine.channel.send("stopping", action=action.value)
        if self.watchdog is not None:
            self.watchdog.prepare_shutdown()
        for step in (
            self._stop_user,
            self._stop_services,
            self._kill_rest,
            self._close_engine,
            self._release_disks,
        ):
            try:
                await step()
            except Exception:
                log.exception("shutdown goes on after a failure")
        firmware.withdraw_memory_overwrite_request()
        self._machine.channel.send("down")
        log.warning("%s now", action)
        if self.watchdog is not None and action is not PowerAction.REBOOT:
            self.watchdog.disarm()
        self._end(_COMMANDS[action])

    async def end_user_containers(self, limit_s: float) -> None:
        """End them in order, within *limit_s* and some seconds, while the machine goes on."""
        self._containers_until_s = asyncio.get_running_loop().time() + limit_s
        await self._stop_user()

    async def _stop_user(self) -> None:
        """The user's containers first: their logs and networks are still there."""
        if self._force.is_set():
            return
        # Also if nothing runs: from now on the engine does not start again what has ended.
        told = await self._tell_user_engine()
        if not cgroup.is_populated(cgroups.USER):
            return
        if told:
            await self._until_gone(lambda: not cgroup.is_populated(cgroups.USER), self._left_s())
        for pid in cgroup.processes(cgroups.USER):
            _signal(pid, signal.SIGTERM)
        await self._until_gone(lambda: not cgroup.is_populated(cgroups.USER), USER_GRACE_S)
        cgroup.kill(cgroups.USER)

    async def _tell_user_engine(self) -> bool:
        """Ask the user's engine to end its containers; False if it does not run."""
        if self.services is None:
            return False
        try:
            async with asyncio.timeout(TELL_TIMEOUT_S):
                return await self.services.signal(USER_ENGINE, self.user_signal)
        except TimeoutError:
            return False  # PID 1's engine is about to start it, and this takes its time

    async def _stop_services(self) -> None:
        if self._force.is_set() or self.services is None:
            return
        least_s = min(SERVICES_LEAST_S, self._machine.parameters.shutdown_s)
        try:
            async with asyncio.timeout(max(self._left_s(), least_s)):
                await self.services.stop_all(self._force)
        except TimeoutError:
            running = [status.name for status in self.services.statuses() if status.pid]
            log.warning("not all services stopped in time, killing %s", ", ".join(running))

    async def _kill_rest(self) -> None:
        """Everything but this process; in a container's cgroup or astray."""
        for group in (cgroups.USER, cgroups.SYSTEM):
            if group.exists():
                cgroup.kill(group)
        if os.getpid() == 1:  # elsewhere, -1 would mean the processes of somebody's machine
            _signal(-1, signal.SIGKILL)
        await self._until_gone(lambda: not _others_alive(), KILL_TIMEOUT_S, heed_force=False)

    async def _close_engine(self) -> None:
        """End the API. A thread of the engine's may hang in a disk that does not answer."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._stop_engine()
        except TimeoutError:
            log.warning("the engine does not end, going on without")

    async def _release_disks(self) -> None:
        if os.getpid() != 1:
            return
        problems = [await unmounting.sync(5.0 if self._force.is_set() else 15.0)]
        try:
            async with asyncio.timeout(unmounting.TOTAL_TIMEOUT_S):
                problems += await unmounting.unmount_all()
        except TimeoutError:
            problems.append("not everything could be unmounted in time")
        for problem in filter(None, problems):
            log.warning("%s", problem)

    def _left_s(self) -> float:
        return self._containers_until_s - asyncio.get_running_loop().time()

    async def _until_gone(
        self, gone: Callable[[], bool], limit_s: float, *, heed_force: bool = True
    ) -> None:
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + limit_s
        while not gone() and loop.time() < deadline_s:
            if heed_force and self._force.is_set():
                return
            await asyncio.sleep(LOOK_AGAIN_S)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError:
        pass  # it is gone


def _others_alive() -> bool:
    """Whether a process in one of the containers' cgroups is left."""
    return any(
        cgroup.is_populated(group) for group in (cgroups.USER, cgroups.SYSTEM) if group.exists()
    )
