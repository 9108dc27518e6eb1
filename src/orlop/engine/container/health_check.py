"""Health checks: when to probe, and what the results mean. Docker's semantics.

A success makes healthy at once. Failures make unhealthy after `retries` in a row; those within the
start period do not count, unless there was a success before.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.engine.container.state import Health
from orlop.lib.errors import DeadlineExceeded, OrlopError
from orlop.lib.units import go_duration

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orlop.wire.compose_model import HealthCheck

RESULTS_KEPT = 5
OUTPUT_LIMIT_BYTES = 4096
"""Of each probe's output, as Docker."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One probe. *exit_code* -1: it could not be run or took too long."""

    started_ns: int
    ended_ns: int
    exit_code: int
    output: str


class HealthTracker:
    """From results to a state; no clock, no I/O."""

    def __init__(self, check: HealthCheck, known: Health = Health.STARTING) -> None:
        """*known* is what an earlier engine found out about the same run of the container."""
        self._check = check
        self._was_healthy = known is Health.HEALTHY
        self.health = Health.STARTING if known is Health.NONE else known
        self.failing_streak = 0
        self.results: deque[ProbeResult] = deque(maxlen=RESULTS_KEPT)

    def add(self, result: ProbeResult, running_s: float) -> Health:
        """Take *result* of a probe begun *running_s* after the container's start."""
        self.results.append(result)
        if result.exit_code == 0:
            self._was_healthy = True
            self.failing_streak = 0
            self.health = Health.HEALTHY
            return self.health
        if running_s < self._check.start_period_s and not self._was_healthy:
            return self.health
        self.failing_streak += 1
        if self.failing_streak >= max(self._check.retries, 1):
            self.health = Health.UNHEALTHY
        return self.health

    def delay_s(self, running_s: float) -> float:
        """How long to wait before the next probe."""
        if running_s < self._check.start_period_s and not self._was_healthy:
            return min(self._check.start_interval_s, self._check.interval_s)
        return self._check.interval_s


async def watch(
    tracker: HealthTracker,
    check: HealthCheck,
    probe: Callable[[bytearray], Awaitable[int]],
    report: Callable[[Health], None],
) -> None:
    """Probe until cancelled; *report* is called after each probe with the state then.

    *probe* adds the beginning of its output to what it is given, as it comes.
    """
    started_s = time.monotonic()
    while True:
        await asyncio.sleep(tracker.delay_s(time.monotonic() - started_s))
        running_s = time.monotonic() - started_s
        begin_ns, output = time.time_ns(), bytearray()
        try:
            async with asyncio.timeout(check.timeout_s):
                code = await probe(output)
        except (TimeoutError, DeadlineExceeded):
            text = f"Health check exceeded timeout ({go_duration(check.timeout_s)})"
            code, output = -1, bytearray(text.encode() + (b": " + output if output else b""))
        except OrlopError as error:
            code, output = -1, bytearray(str(error).encode())
        shown = output[:OUTPUT_LIMIT_BYTES].decode(errors="replace")
        report(tracker.add(ProbeResult(begin_ns, time.time_ns(), code, shown), running_s))
