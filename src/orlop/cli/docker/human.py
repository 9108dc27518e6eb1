"""Sizes, durations and times as docker's command shows them."""

from __future__ import annotations

import time

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
SHORT_ID = 12


def decimal_size(size_bytes: float, digits: int = 4) -> str:
    """`1.234MB`: powers of 1000, so many significant *digits*."""
    return _size(size_bytes, 1000, digits, _DECIMAL)


def binary_size(size_bytes: float) -> str:
    """`1.234MiB`: powers of 1024."""
    return _size(size_bytes, 1024, 4, _BINARY)


def _size(value: float, base: int, digits: int, units: tuple[str, ...]) -> str:
    position = 0
    while value >= base and position < len(units) - 1:
        value /= base
        position += 1
    return f"{value:.{digits}g}{units[position]}"


def duration(seconds: float) -> str:
    """`3 seconds`, `About an hour`, `2 weeks`."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    minutes = whole // 60
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    for limit, unit, name in ((48, 1, "hours"), (336, 24, "days"), (1440, 168, "weeks")):
        if hours < limit:
            return f"{hours // unit} {name}"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{int(seconds / 3600) // 24 // 365} years"


def ago(moment_s: float) -> str:
    """How long ago a time since 1970 is."""
    return duration(time.time() - moment_s) + " ago"


def local_time(moment_s: float) -> str:
    """`2026-01-31 12:00:00 +0000 UTC`, as Go prints a time."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(int(moment_s)))


def short_id(identifier: str) -> str:
    """The first twelve digits of an id or digest."""
    return identifier.rpartition(":")[2][:SHORT_ID]


def ellipsis(text: str, width: int) -> str:
    """*text*, its end replaced by an ellipsis if it is longer than *width*."""
    return text if len(text) <= width else text[: width - 1] + "…"
