"""Following a schedule by a clock that is ours."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from orlop.system.services.schedule import follow, next_run
from orlop.wire.compose import ServiceDefinition, parse_service

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOON_S = 1_767_268_800.0
"""2026-01-01 12:00 UTC."""


def define(schedule: str) -> ServiceDefinition:
    return parse_service("job", {"x-orlop": {"schedule": schedule}})


@dataclass
class Job:
    definition: ServiceDefinition
    next_s: float = 0.0


class Clock:
    """Sleeping moves it on; *jumps* are what it does besides, one for each sleep."""

    def __init__(self, *jumps: float) -> None:
        self.now_s = NOON_S
        self.jumps = list(jumps)
        self.sleeps = 0

    def time(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        if self.sleeps > 1000:
            raise asyncio.CancelledError
        self.now_s += seconds + (self.jumps.pop(0) if self.jumps else 0.0)


def starts(
    monkeypatch: pytest.MonkeyPatch, schedule: str, clock: Clock, end: Callable[[float], bool]
) -> list[float]:
    """Seconds after noon at which it was started, until *end* of them."""
    found: list[float] = []

    async def start(_: Job) -> None:
        found.append(clock.now_s - NOON_S)
        if end(found[-1]):
            raise asyncio.CancelledError

    monkeypatch.setattr("orlop.system.services.schedule.time.time", clock.time)
    monkeypatch.setattr("orlop.system.services.schedule.asyncio.sleep", clock.sleep)

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await follow(Job(define(schedule)), "", lambda _: None, start)

    asyncio.run(main())
    return found


@pytest.fixture(autouse=True)
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / ".runs.json"
    monkeypatch.setattr("orlop.system.services.schedule.NOTES", path)
    return path


def test_what_was_missed_while_the_machine_was_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, notes: Path
) -> None:
    notes.write_text(json.dumps({"job": NOON_S - 7200, "other": 5}))
    starts(monkeypatch, "30 * * * *", Clock(), lambda at: at >= 5400)
    assert caplog.text.count("missed its run") == 1
    assert "missed its run of 2026-01-01 10:30:00 UTC: the machine was off" in caplog.text
    assert json.loads(notes.read_text()) == {"job": NOON_S + 1800, "other": 5}


def test_each_time_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = starts(monkeypatch, "*/2 * * * *", Clock(), lambda at: at >= 480)
    assert found == [120.0, 240.0, 360.0, 480.0]


def test_a_clock_that_is_put_forward(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = starts(monkeypatch, "0 * * * *", Clock(86400.0), lambda _: True)
    assert found == [86400.0 + 3600]
    assert "service job missed its run of 2026-01-01 13:00:00 UTC" in caplog.text


def test_a_clock_that_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    assert starts(monkeypatch, "*/5 * * * *", Clock(0.0, -86400.0), lambda _: True) == [-86100.0]


def test_the_zone() -> None:
    assert next_run(define("0 13 * * *"), NOON_S, "") == NOON_S + 3600
    assert next_run(define("TZ=Etc/UTC 0 13 * * *"), NOON_S, "No/Such") == NOON_S + 3600
    assert next_run(define("0 13 * * *"), NOON_S, "No/Such") is None
