"""The health check of one container while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.engine.container import health_check
from orlop.engine.container.state import Health
from orlop.lib.errors import OrlopError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Sequence

    from orlop.engine.container.core import Core


class HealthWatch:
    """`tracker` has what the last run's checks found; None without a check."""

    def __init__(
        self, core: Core, run: Callable[[Sequence[str], bytearray], Awaitable[int]]
    ) -> None:
        """*run* runs a command in the container; adds its output, gives its status."""
        self._core = core
        self._run = run
        self._task: asyncio.Task[None] | None = None
        self.tracker: health_check.HealthTracker | None = None

    def begin(self, known: Health = Health.STARTING) -> None:
        """Probe from now on; *known* is what an earlier engine found out."""
        core = self._core
        check = core.config.healthcheck
        if check is None:
            try:
                check = core.image().healthcheck
            except OrlopError:
                check = None
        if check is None or not check.command:
            core.record.health = Health.NONE
            self.tracker = None
            return
        self.tracker = health_check.HealthTracker(check, known)
        core.record.health = self.tracker.health
        argv = check.command

        work = health_check.watch(
            self.tracker, check, lambda output: self._run(argv, output), self._report
        )
        self._task = core.host.tasks.start(work, f"health of {core.name}")

    def end(self) -> None:
        """It does not run, or is frozen."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
            if self._core.config.requested:
                # dockerd's: who is not looked after counts as unhealthy.
                self._core.record.health = Health.UNHEALTHY

    def _report(self, state: Health) -> None:
        core = self._core
        if state is core.record.health or not core.record.state.is_up:
            return
        core.record.health = state
        core.save_state()
        core.notify()
        core.publish(f"health_status: {state}")
