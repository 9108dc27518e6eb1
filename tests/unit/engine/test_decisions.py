"""State changes, restarts, back-off and health: decided without a clock or a container."""

import itertools

import pytest

from orlop.engine.container.health_check import HealthTracker, ProbeResult
from orlop.engine.container.restart_policy import Backoff, wants_restart
from orlop.engine.container.state import TRANSITIONS, Health, State, check_transition
from orlop.lib.errors import Conflict
from orlop.wire.compose_model import HealthCheck, RestartMode, RestartPolicy


def test_transitions_are_those_of_the_table() -> None:
    assert set(TRANSITIONS) == set(State)
    states = tuple(TRANSITIONS)
    for old, new in itertools.product(states, states):
        if new in TRANSITIONS[old]:
            check_transition(old, new)
        else:
            with pytest.raises(Conflict):
                check_transition(old, new)


@pytest.mark.parametrize(
    ("mode", "retries", "code", "count", "expected"),
    [
        (RestartMode.NO, 0, 1, 0, False),
        (RestartMode.ALWAYS, 0, 0, 99, True),
        (RestartMode.UNLESS_STOPPED, 0, 0, 0, True),
        (RestartMode.ON_FAILURE, 0, 0, 0, False),
        (RestartMode.ON_FAILURE, 0, 1, 99, True),
        (RestartMode.ON_FAILURE, 3, 1, 2, True),
        (RestartMode.ON_FAILURE, 3, 1, 3, False),
    ],
)
def test_restart_policies(
    mode: RestartMode, retries: int, code: int, count: int, expected: bool
) -> None:
    policy = RestartPolicy(mode, retries)
    assert (
        wants_restart(policy, exit_code=code, manually_stopped=False, restart_count=count)
        is expected
    )
    assert not wants_restart(policy, exit_code=code, manually_stopped=True, restart_count=count)


def test_delays_double_to_a_minute_and_a_good_run_resets_them() -> None:
    backoff = Backoff()
    delays = [backoff.delay_after(0.5) for _ in range(12)]
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert delays[-1] == 60.0
    assert backoff.delay_after(10.0) == 0.1
    assert backoff.delay_after(0.0) == 0.2


def result(code: int) -> ProbeResult:
    return ProbeResult(0, 1, code, "")


def test_failures_in_a_row_make_unhealthy_and_one_success_healthy() -> None:
    tracker = HealthTracker(HealthCheck(("true",), retries=3))
    states = [tracker.add(result(code), 0.0) for code in (1, 1, 0, 1, 1, 1, 0)]
    assert states == [
        Health.STARTING,
        Health.STARTING,
        *[Health.HEALTHY] * 3,
        Health.UNHEALTHY,
        Health.HEALTHY,
    ]
    assert len(tracker.results) == 5


def test_failures_in_the_start_period_do_not_count() -> None:
    check = HealthCheck(("true",), retries=1, start_period_s=10, start_interval_s=1, interval_s=30)
    tracker = HealthTracker(check)
    assert tracker.delay_s(5) == 1
    assert tracker.add(result(1), 5) is Health.STARTING
    assert tracker.delay_s(11) == 30
    assert tracker.add(result(1), 11) is Health.UNHEALTHY


def test_the_start_period_ends_with_the_first_success() -> None:
    tracker = HealthTracker(HealthCheck(("true",), retries=1, start_period_s=10))
    tracker.add(result(0), 1)
    assert tracker.add(result(1), 2) is Health.UNHEALTHY
