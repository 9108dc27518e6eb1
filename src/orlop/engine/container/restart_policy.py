"""When a container that ended is started again, and how long to wait before."""

from __future__ import annotations

from orlop.wire.compose_model import RestartMode, RestartPolicy

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 60.0
STABLE_AFTER_S = 10.0
"""A container that ran this long has recovered: the next delay is the first again."""


def wants_restart(
    policy: RestartPolicy, *, exit_code: int, manually_stopped: bool, restart_count: int
) -> bool:
    """Docker's rules. *restart_count* counts restarts by policy since the last start by hand."""
    if manually_stopped:
        return False
    match policy.mode:
        case RestartMode.NO:
            return False
        case RestartMode.ALWAYS | RestartMode.UNLESS_STOPPED:
            return True
        case RestartMode.ON_FAILURE:
            unlimited = policy.max_retries == 0
            return exit_code != 0 and (unlimited or restart_count < policy.max_retries)


def wants_start_with_engine(
    policy: RestartPolicy, *, exit_code: int, manually_stopped: bool
) -> bool:
    """Whether a container that does not run is started when a durable engine starts.

    As dockerd does it: `always` even if somebody had stopped it, or had never started it.
    """
    match policy.mode:
        case RestartMode.ALWAYS:
            return True
        case RestartMode.UNLESS_STOPPED:
            return not manually_stopped
        case RestartMode.ON_FAILURE:
            return exit_code != 0 and not manually_stopped
        case RestartMode.NO:
            return False


class Backoff:
    """Delays of 100 ms, 200 ms … one minute; back to the first after ten good seconds."""

    def __init__(self) -> None:
        self._next_s = FIRST_DELAY_S

    def delay_after(self, ran_s: float) -> float:
        """The delay before the next start, after a run of *ran_s* seconds."""
        if ran_s >= STABLE_AFTER_S:
            self._next_s = FIRST_DELAY_S
        delay_s = self._next_s
        self._next_s = min(delay_s * 2, LONGEST_DELAY_S)
        return delay_s

    def reset(self) -> None:
        """Somebody started it by hand."""
        self._next_s = FIRST_DELAY_S
