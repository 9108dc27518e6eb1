"""`Healthcheck` of a create request."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.wire.compose_model import HealthCheck

if TYPE_CHECKING:
    from orlop.wire.docker.fields import Object

SHELL = ("/bin/sh", "-c")
_NS = 1_000_000_000
_MS = 1_000_000
TIMES = ("Interval", "Timeout", "StartPeriod", "StartInterval", "Retries")


def parse_healthcheck(check: Object) -> HealthCheck | None:
    """What it tests; None: what the image says.

    Raises:
        InvalidArgument: in dockerd's words.
    """
    _check_times(check)
    test = check.texts("Test")
    if not test:
        return None
    match test[0]:
        case "NONE":
            return HealthCheck(())
        case "CMD":
            command = test[1:]
        case "CMD-SHELL":
            command = (*SHELL, *test[1:])
        case _:
            raise InvalidArgument(f"Unknown healthcheck type '{test[0][:40]}' (expected 'CMD')")

    return with_times(HealthCheck(command), check)


def _check_times(check: Object) -> None:
    """Refuse what no check could be done with, also where the test is the image's."""
    for key in TIMES:
        value = check.integer(key)
        if key == "Retries" and value < 0:
            raise InvalidArgument("Retries in Healthcheck cannot be negative")
        if key != "Retries" and value and value < _MS:
            raise InvalidArgument(f"{key} in Healthcheck cannot be less than 1ms")


def with_times(base: HealthCheck, check: Object) -> HealthCheck:
    """*base* with the times that *check* sets."""

    def seconds(key: str, default_s: float) -> float:
        return check.integer(key) / _NS or default_s

    return replace(
        base,
        interval_s=seconds("Interval", base.interval_s),
        timeout_s=seconds("Timeout", base.timeout_s),
        start_period_s=seconds("StartPeriod", base.start_period_s),
        start_interval_s=seconds("StartInterval", base.start_interval_s),
        retries=check.integer("Retries") or base.retries,
    )
