"""Times at which something is to happen again and again, as cron has them; pure.

Five fields (minute, hour, day of the month, month, day of the week), six with the seconds first as
RancherOS's cron had, `@daily` and its kin, `@every 90m`; `TZ=Europe/Rome` before them is the zone.

Where clocks are put forward, what would have been in the hour that is left out comes right after
it; where they are put back, what has fixed hours comes once. Source: crontab(5) of Debian's cron.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.lib.units import parse_duration_s

if TYPE_CHECKING:
    from datetime import tzinfo

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MIN_EVERY_S, MAX_EVERY_S = 1.0, 366 * 86400.0
MAX_DAYS = 8 * 366 + 1
"""From one 29th of February to the next where a century has none."""

_ZONE = r"(?:CRON_)?TZ=(?P<zone>[A-Za-z0-9_+/-]{1,64})\s+(?P<rest>.*)"
_ALL = ("*", "?")
_MINUTE = timedelta(minutes=1)
_ITEM = r"(?P<low>\*|\w+)(?:-(?P<high>\w+))?(?:/(?P<step>\d{1,4}))?"


@dataclass(frozen=True, slots=True)
class Schedule:
    """*every_s* counts alone if it is not 0. *weekdays* has 0 for Sunday; empty: all, as *days*.

    *zone* is empty for the machine's own.
    """

    zone: str = ""
    every_s: float = 0.0
    second: int = 0
    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    any_hour: bool = False
    """The hour was given with a star: what it says is how often, and not when."""
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()

    def next_after(self, moment_s: float, zone: tzinfo) -> float | None:
        """The first time after *moment_s*, both in seconds since 1970; None: there is none."""
        if self.every_s:
            return moment_s + self.every_s
        # A run in this very minute may still be ahead of its second.
        at = datetime.fromtimestamp(moment_s // 60 * 60, UTC)
        if moment_s - at.timestamp() >= self.second:
            at += timedelta(minutes=1)
        found = self._next_minute(at, zone)
        return None if found is None else found.timestamp() + self.second

    def _next_minute(self, at: datetime, zone: tzinfo) -> datetime | None:
        before = at - _MINUTE
        for _ in range(MAX_DAYS):
            day = at.astimezone(zone).date()
            if not self._is_day(day):
                following = self._next_day(day)
                if following is None:
                    return None
                midnight = datetime(following.year, following.month, following.day, tzinfo=zone)
                at = midnight.astimezone(UTC)
                before = at - _MINUTE
            while (local := at.astimezone(zone)).date() == day or self._is_day(local.date()):
                if self._is_due(local, before.astimezone(zone)):
                    return at
                before = at
                at += timedelta(minutes=1 if local.minute or self._is_hour(local) else 59)
        return None

    def _next_day(self, day: date) -> date | None:
        for _ in range(MAX_DAYS):
            day += timedelta(days=1)
            if self._is_day(day):
                return day
        return None

    def _is_hour(self, local: datetime) -> bool:
        return self._is_day(local.date()) and local.hour in self.hours

    def _is_due(self, local: datetime, before: datetime) -> bool:
        if local.fold and not self.any_hour:
            return False
        if self._fits(local.replace(tzinfo=None)):
            return True
        naive = before.replace(tzinfo=None) + timedelta(minutes=1)
        missing = local.replace(tzinfo=None) - naive
        if not timedelta(0) < missing <= timedelta(hours=3):
            return False
        return any(
            self._fits(naive + timedelta(minutes=n)) for n in range(int(missing.seconds / 60))
        )

    def _fits(self, naive: datetime) -> bool:
        return (
            naive.minute in self.minutes and naive.hour in self.hours and self._is_day(naive.date())
        )

    def _is_day(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        weekday = day.isoweekday() % 7
        if self.days and self.weekdays:  # either of them is enough if both are given
            return day.day in self.days or weekday in self.weekdays
        if self.days:
            return day.day in self.days
        return not self.weekdays or weekday in self.weekdays


def parse_schedule(text: str) -> Schedule:
    """What *text* says.

    Raises:
        InvalidArgument: it is no schedule, or stands for no time at all.
    """
    zone, rest = "", text.strip()
    if match := re.fullmatch(_ZONE, rest):
        zone, rest = match["zone"], match["rest"].strip()
    if rest.startswith("@every"):
        every_s = parse_duration_s(rest.removeprefix("@every").strip())
        if not MIN_EVERY_S <= every_s <= MAX_EVERY_S:
            raise InvalidArgument("@every wants from 1s to 366 days")
        return Schedule(zone, every_s)
    fields = ALIASES.get(rest, rest).split()
    if len(fields) not in (5, 6):
        words = ", ".join(ALIASES)
        raise InvalidArgument(
            f"{text!r} is no schedule: five fields (minute hour day month weekday), {words}, or "
            "@every DURATION expected"
        )
    second = _second(fields.pop(0)) if len(fields) == 6 else 0
    minute, hour, day, month, weekday = fields
    found = Schedule(
        zone,
        second=second,
        minutes=_parse_field(minute, "minute", 0, 59),
        hours=_parse_field(hour, "hour", 0, 23),
        any_hour=hour.startswith("*"),
        days=_days(day),
        months=_parse_field(month, "month", 1, 12, MONTHS),
        weekdays=_weekdays(weekday),
    )
    if found.next_after(0.0, UTC) is None:
        raise InvalidArgument(f"{text!r} never comes: no month has that day")
    return found


def _days(field: str) -> frozenset[int]:
    """Empty for all, as which of the two kinds of days was given decides."""
    return frozenset() if field in _ALL else _parse_field(field, "day of the month", 1, 31)


def _second(field: str) -> int:
    if not field.isdecimal() or int(field) > 59:
        raise InvalidArgument(
            f"seconds: {field!r} is not from 0 to 59; for more than once a minute: @every 10s"
        )
    return int(field)


def _weekdays(field: str) -> frozenset[int]:
    if field in _ALL:
        return frozenset()
    return frozenset(n % 7 for n in _parse_field(field, "day of the week", 0, 7, DAYS))


def _parse_field(
    field: str, what: str, low: int, high: int, names: tuple[str, ...] = ()
) -> frozenset[int]:
    found: set[int] = set()
    for item in field.split(","):
        match = re.fullmatch(_ITEM, item)
        if match is None:
            raise InvalidArgument(f"{what}: {item!r} is no number, range or step")
        first = _number(match["low"], what, low, high, names)
        last = first if match["high"] is None else _number(match["high"], what, low, high, names)
        if match["low"] == "*" or (match["step"] and match["high"] is None):
            last = high
        step = int(match["step"] or 1)
        if not step or last < first:
            raise InvalidArgument(f"{what}: {item!r} is empty")
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _number(word: str, what: str, low: int, high: int, names: tuple[str, ...]) -> int:
    if word == "*":
        return low
    if word[:3].lower() in names:
        return names.index(word[:3].lower()) + low
    if not word.isdecimal() or not low <= int(word) <= high:
        raise InvalidArgument(f"{what}: {word!r} is not from {low} to {high}")
    return int(word)
