"""Cron schedules: their times, also where clocks are changed, and what is none."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.schedule import parse_schedule

ROME = ZoneInfo("Europe/Rome")


def runs(text: str, start: str, count: int, zone: ZoneInfo | None = None) -> list[str]:
    """The first *count* times after *start*, in *zone*."""
    at_s = datetime.fromisoformat(start).replace(tzinfo=zone or UTC).timestamp()
    found = []
    for _ in range(count):
        following_s = parse_schedule(text).next_after(at_s, zone or UTC)
        assert following_s is not None
        found.append(datetime.fromtimestamp(following_s, zone or UTC).strftime("%m-%d %H:%M:%S"))
        at_s = following_s
    return found


@pytest.mark.parametrize(
    ("text", "start", "expected"),
    [
        ("*/20 * * * *", "2026-01-01T00:00:00", ["01-01 00:20:00", "01-01 00:40:00"]),
        ("30 4 * * *", "2026-01-01T04:30:00", ["01-02 04:30:00", "01-03 04:30:00"]),
        ("@daily", "2026-01-31T23:59:59", ["02-01 00:00:00", "02-02 00:00:00"]),
        ("@hourly", "2026-01-31T23:10:00", ["02-01 00:00:00", "02-01 01:00:00"]),
        ("0 0 1 1 *", "2026-01-01T00:00:00", ["01-01 00:00:00", "01-01 00:00:00"]),
        ("0 12 * * mon-fri", "2026-01-02T13:00:00", ["01-05 12:00:00", "01-06 12:00:00"]),
        ("0 0 13 * 5", "2026-01-01T00:00:00", ["01-02 00:00:00", "01-09 00:00:00"]),
        ("0 0 * * 7", "2026-01-01T00:00:00", ["01-04 00:00:00", "01-11 00:00:00"]),
        ("5,10-12 1 * jan *", "2026-01-01T01:05:00", ["01-01 01:10:00", "01-01 01:11:00"]),
        ("0 0 29 2 *", "2026-01-01T00:00:00", ["02-29 00:00:00", "02-29 00:00:00"]),
        ("15 30 * * * *", "2026-01-01T00:30:14", ["01-01 00:30:15", "01-01 01:30:15"]),
        ("@every 90s", "2026-01-01T00:00:00", ["01-01 00:01:30", "01-01 00:03:00"]),
        ("0 22 31 12 *", "2026-12-31T21:59:00", ["12-31 22:00:00", "12-31 22:00:00"]),
    ],
)
def test_times(text: str, start: str, expected: list[str]) -> None:
    assert runs(text, start, 2) == expected


def test_the_hour_that_is_left_out() -> None:
    assert runs("30 2 * * *", "2026-03-28T12:00:00", 2, ROME) == [
        "03-29 03:00:00",
        "03-30 02:30:00",
    ]
    assert runs("*/30 * * * *", "2026-03-29T01:30:00", 2, ROME) == [
        "03-29 03:00:00",
        "03-29 03:30:00",
    ]


def test_the_hour_that_is_there_twice() -> None:
    assert runs("30 2 * * *", "2026-10-24T12:00:00", 2, ROME) == [
        "10-25 02:30:00",
        "10-26 02:30:00",
    ]
    assert runs("*/30 * * * *", "2026-10-25T01:45:00", 5, ROME) == [
        "10-25 02:00:00",
        "10-25 02:30:00",
        "10-25 02:00:00",
        "10-25 02:30:00",
        "10-25 03:00:00",
    ]


def test_zone() -> None:
    assert parse_schedule("TZ=Europe/Rome 0 3 * * *").zone == "Europe/Rome"
    assert parse_schedule("CRON_TZ=UTC @daily").zone == "UTC"
    assert parse_schedule("@daily").zone == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is no schedule"),
        ("@sometimes", "is no schedule"),
        ("* * *", "is no schedule"),
        ("60 * * * *", "minute: '60' is not from 0 to 59"),
        ("* 24 * * *", "hour: '24'"),
        ("* * 0 * *", "day of the month: '0'"),
        ("* * * foo *", "month: 'foo'"),
        ("*/0 * * * *", "minute: '*/0' is empty"),
        ("30-10 * * * *", "is empty"),
        ("1;2 * * * *", "no number, range or step"),
        ("0 0 31 2 *", "never comes"),
        ("*/10 * * * * *", "seconds"),
        ("@every 0s", "from 1s"),
        ("@every soon", "soon"),
        ("²  * * * *", "is not from|no number"),
    ],
)
def test_what_is_no_schedule(text: str, problem: str) -> None:
    with pytest.raises(InvalidArgument, match=problem.replace("*", r"\*").replace("|", "|")):
        parse_schedule(text)
