"""Times as the Docker API writes and reads them."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from orlop.engine.log_reader import format_time
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


def human_duration(seconds: float) -> str:
    """As docker says how long something has been: `About a minute`, `3 hours`, `2 weeks`."""
    whole = int(seconds)
    minutes, hours = whole // 60, round(seconds / 3600)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    days = int(seconds // 86_400)
    if days < 14:
        return f"{days} days"
    if days < 60:
        return f"{days // 7} weeks"
    if days < 730:
        return f"{days // 30} months"
    return f"{days // 365} years"
