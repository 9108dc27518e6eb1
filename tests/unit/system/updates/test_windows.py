"""Update windows by the clock of a zone, over the days on which its clocks are changed."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from orlop.system.updates.windows import Window, is_open, next_open, parse

OSLO = ZoneInfo("Europe/Oslo")
NIGHT = parse([{"days": ["mon", "tue"], "start": "23:00", "length": "120m"}])
EARLY = parse([{"days": ["sun"], "start": "02:30", "length": "60m"}])


def at(text: str, zone: str = "Europe/Oslo", fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def test_parse() -> None:
    assert [Window(frozenset({0, 1}), 23 * 60, 7200.0)] == NIGHT
    assert parse(None) == []


@pytest.mark.parametrize(
    ("moment", "found"),
    [
        ("2026-06-15T22:59:59", False),
        ("2026-06-15T23:00:00", True),
        ("2026-06-16T00:59:59", True),  # a Tuesday, of Monday's window
        ("2026-06-16T01:00:00", False),
        ("2026-06-17T00:30:00", True),
        ("2026-06-17T23:30:00", False),  # a Wednesday
    ],
)
def test_is_open(moment: str, found: bool) -> None:
    assert is_open(NIGHT, at(moment), OSLO) is found


def test_none_means_always() -> None:
    assert is_open([], 0.0, OSLO)
    assert next_open([], 0.0, OSLO) == 0.0


def test_it_is_the_zone_that_counts() -> None:
    assert not is_open(NIGHT, at("2026-06-15T23:30:00", "UTC"), OSLO)
    assert is_open(NIGHT, at("2026-06-15T21:30:00", "UTC"), OSLO)


def test_next() -> None:
    assert next_open(NIGHT, at("2026-06-15T23:00:00"), OSLO) == at("2026-06-16T23:00:00")
    assert next_open(NIGHT, at("2026-06-16T23:30:00"), OSLO) == at("2026-06-22T23:00:00")


def test_where_the_hour_is_left_out() -> None:
    # On 2026-03-29 the clocks go from 02:00 to 03:00.
    assert not is_open(EARLY, at("2026-03-29T01:59:00"), OSLO)
    assert is_open(EARLY, at("2026-03-29T03:00:00"), OSLO)
    assert is_open(EARLY, at("2026-03-29T03:59:00"), OSLO)
    assert not is_open(EARLY, at("2026-03-29T04:00:00"), OSLO)


def test_where_the_hour_comes_twice() -> None:
    # On 2026-10-25 the clocks go from 03:00 back to 02:00: the window opens once, for an hour.
    assert is_open(EARLY, at("2026-10-25T02:30:00"), OSLO)
    assert is_open(EARLY, at("2026-10-25T02:29:00", fold=1), OSLO)
    assert not is_open(EARLY, at("2026-10-25T02:31:00", fold=1), OSLO)
