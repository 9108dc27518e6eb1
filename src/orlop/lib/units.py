"""Sizes and durations between people and programs.

Parsing accepts what Docker accepts; formatting is short and stable, for tables and logs.
"""

import re

from orlop.lib.errors import InvalidArgument

_SIZE = re.compile(
    r"(?P<number>\d{1,20}(?:\.\d{1,20})?)\s*(?P<unit>[kmgtp]?)(?P<iec>i?)b?", re.IGNORECASE
)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}

_DURATION_PART = re.compile(r"(?P<number>\d{1,20}(?:\.\d{1,20})?)(?P<unit>ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_size_bytes(text: str) -> int:
    """Parse `64m`, `1.5 GiB`, `4096`; as in Docker, units are powers of 1024 in any spelling.

    Raises:
        InvalidArgument: not a size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidArgument(f"{text!r} is not a size", hint="write for example 512m or 2g")
    return int(float(match["number"]) * 1024 ** _POWERS[match["unit"].lower()])


def parse_duration_s(text: str) -> float:
    """Parse a Go duration such as `1m30s` or `500ms` into seconds; `0` is allowed without a unit.

    Raises:
        InvalidArgument: not a duration.
    """
    stripped = text.strip()
    if stripped == "0":
        return 0.0
    total_s, position = 0.0, 0
    while position < len(stripped):
        match = _DURATION_PART.match(stripped, position)
        if match is None:
            break
        total_s += float(match["number"]) * _SECONDS[match["unit"]]
        position = match.end()
    if not stripped or position != len(stripped):
        raise InvalidArgument(f"{text!r} is not a duration", hint="write for example 30s or 1m30s")
    return total_s


def format_size(size_bytes: int) -> str:
    """`format_size(20_000_000)` is `19.1 MiB`."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{size_bytes} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def go_duration(duration_s: float) -> str:
    """As Go writes a duration: `50ms`, `1.5s`, `1m30s`, `2h0m0s`."""
    nanoseconds = round(duration_s * 1e9)
    for unit, size in (("ns", 1), ("µs", 1000), ("ms", 1_000_000)):
        if 0 < nanoseconds < size * 1000:
            return f"{nanoseconds / size:.9g}{unit}"
    minutes, left = divmod(nanoseconds, 60_000_000_000)
    text = f"{left / 1e9:.11g}s"
    if minutes:
        text = f"{minutes % 60}m{text}"
    return f"{minutes // 60}h{text}" if minutes >= 60 else text


def format_duration(duration_s: float) -> str:
    """`0.4s`, `12s`, `3m05s`, `2h07m`: two figures of interest, never more."""
    if duration_s < 10:
        return f"{duration_s:.1f}s"
    whole_s = round(duration_s)
    if whole_s < 60:
        return f"{whole_s}s"
    if whole_s < 3600:
        return f"{whole_s // 60}m{whole_s % 60:02d}s"
    return f"{whole_s // 3600}h{whole_s % 3600 // 60:02d}m"
