"""Times as the Docker API writes and reads them."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from orlop.engine.logs.reader import format_time
from orlop.lib.errors import InvalidArgument, OrlopError
from orlop.lib.units import parse_duration_s

ZERO = "0001-01-01T00:00:00Z"
_NS = 1_000_000_000
_UNIX = re.compile(r"(-?\d{1,12})(?:\.(\d{1,9}))?")


def to_text(time_ns: int) -> str:
    """RFC 3339, or Go's zero time for 0."""
    return format_time(time_ns).decode() if time_ns else ZERO


def parse_time(text: str, now_ns: int | None = None) -> int:
    """A Unix time `1136073600.000000001`, a duration before now `10m`, or RFC 3339. Empty is 0.

    Raises:
        InvalidArgument: none of these.
    """
    if not text:
        return 0
    if match := _UNIX.fullmatch(text):
        return int(match[1]) * _NS + int((match[2] or "0").ljust(9, "0"))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        pass
    else:
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1e6) * 1000
    try:
        before_ns = round(parse_duration_s(text) * _NS)
    except OrlopError:
        raise InvalidArgument(f"failed to parse {text[:80]!r} as a time or duration") from None
    return (time.time_ns() if now_ns is None else now_ns) - before_ns


_HOUR, _DAY = 3600, 86_400
_SINGULAR = ((1, "Less than a second"), (2, "1 second"))
_PLURAL = (
    (60, 1, "seconds"),
    (3600, 60, "minutes"),
    (48 * _HOUR, _HOUR, "hours"),
    (14 * _DAY, _DAY, "days"),
    (60 * _DAY, 7 * _DAY, "weeks"),
    (730 * _DAY, 30 * _DAY, "months"),
)


def human_duration(seconds: float) -> str:
    """As docker says how long something has been: `About a minute`, `3 hours`, `2 weeks`."""
    whole = int(seconds)
    for limit, singular in _SINGULAR:
        if whole < limit:
            return singular
    if 60 <= whole < 120:
        return "About a minute"
    if _HOUR <= whole < 1.5 * _HOUR:
        return "About an hour"
    for limit, unit, name in _PLURAL:
        if whole < limit:
            # Hours are rounded, the others cut: what docker does.
            return f"{round(whole / unit) if unit == _HOUR else whole // unit} {name}"
    return f"{whole // (365 * _DAY)} years"
