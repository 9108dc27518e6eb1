"""What one container's restart policy does after its end and at the engine's start."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from orlop.engine.container.restart_policy import Backoff, wants_restart, wants_start_with_engine
from orlop.engine.container.state import State
from orlop.lib.errors import OrlopError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orlop.engine.container.core import Core

log = logging.getLogger(__name__)


class Restarts:
    """*launch* starts the container; an operation of the owner's."""

    def __init__(self, core: Core, launch: Callable[[], Awaitable[None]]) -> None:
        self._core = core
        self._launch = launch
        self._backoff = Backoff()
        self.forbidden = False
        """Somebody has asked for the end since the last start by hand."""

    def reset(self) -> None:
        """Somebody starts it by hand."""
        self.forbidden = False
        self._backoff.reset()

    def wanted(self) -> bool:
        """Whether it is to be started after the end that the record tells of."""
        known = self._core.record
        return wants_restart(
            known.config.restart,
            exit_code=known.exit_code,
            manually_stopped=known.manually_stopped,
            restart_count=known.restart_count,
        )

    def schedule(self, ran_s: float) -> None:
        """RESTARTING from now on, and a start after the delay that a run of *ran_s* calls for."""
        self._core.set_state(State.RESTARTING)
        self._core.owner.later(self._backoff.delay_after(ran_s), self.now)

    async def now(self) -> None:
        """The delay is over."""
        if self._core.record.state is not State.RESTARTING:
            return
        self._core.record.restart_count += 1
        await self._launch_by_policy()

    def wants_start_with_engine(self) -> bool:
        known = self._core.record
        return wants_start_with_engine(
            known.config.restart,
            exit_code=known.exit_code,
            manually_stopped=known.manually_stopped,
        )

    async def start_with_engine(self) -> None:
        known, host = self._core.record, self._core.host
        if known.state in (State.CREATED, State.EXITED):
            known.manually_stopped = False
            async with host.starting:
                await self._launch_by_policy()

    async def _launch_by_policy(self) -> None:
        try:
            await self._launch()
        except OrlopError as error:
            log.warning("container %s does not start again: %s", self._core.name, error)
            if self.wanted():
                self.schedule(0.0)
