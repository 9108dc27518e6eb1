"""When a machine may reboot for an update; pure.

A window opens at a time of its zone's clock and is open for so much time, however clocks are set
meanwhile. Where the clocks leave the hour out in which it would open, it opens right after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from orlop.lib.units import parse_duration_s

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date, tzinfo

    from orlop.wire.compose_model import Json

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Window:
    """*days* are numbers, 0 for Monday; *minute* is that of the day."""

    days: frozenset[int]
    minute: int
    length_s: float


def parse(value: Json) -> list[Window]:
    """The windows of a configuration, which its worker has checked."""
    found = []
    for item in value if isinstance(value, list) else []:
        if isinstance(item, dict):
            days = item.get("days")
            names = days if isinstance(days, list) else [*DAYS]
            hour, _, minute = str(item["start"]).partition(":")
            numbers = frozenset(DAYS.index(str(name)) for name in names)
            length_s = parse_duration_s(str(item["length"]))
            found.append(Window(numbers, int(hour) * 60 + int(minute), length_s))
    return found


def is_open(windows: Sequence[Window], now_s: float, zone: tzinfo) -> bool:
    """Whether one of them is; where there are none it always is."""
    return not windows or any(
        start_s <= now_s < start_s + window.length_s
        for window in windows
        for start_s in _starts(window, now_s, zone)
    )


def next_open(windows: Sequence[Window], now_s: float, zone: tzinfo) -> float:
    """When one opens next; 0 if there are none."""
    starts = [s for window in windows for s in _starts(window, now_s, zone) if s > now_s]
    return min(starts, default=0.0)


def _starts(window: Window, now_s: float, zone: tzinfo) -> Iterator[float]:
    """When it opens, from a week before *now_s*, as long as a window may be, to a week after."""
    today = datetime.fromtimestamp(now_s, zone).date()
    for number in range(-8, 9):
        day = today + timedelta(days=number)
        if day.weekday() in window.days:
            yield _moment(day, window.minute, zone)


def _moment(day: date, minute: int, zone: tzinfo) -> float:
    wall = datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=zone)
    found = wall.timestamp()
    # A time that no clock shows: what it becomes shows another one, ahead by the hour left out.
    shown = datetime.fromtimestamp(found, zone)
    if shown.replace(tzinfo=None) != wall.replace(tzinfo=None):
        return found - (shown.minute * 60 + shown.second) % 3600
    return found
