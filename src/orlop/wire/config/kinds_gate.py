"""What the values of `orlop.update.windows` and `orlop.update.lock` may be. Pure.

In normal form a window has its days by name, its start as `HH:MM`, its length in minutes (`90m`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orlop.wire.config.kinds import Kind
from orlop.wire.config.kinds_health import duration, is_url

if TYPE_CHECKING:
    from orlop.wire.compose_model import Json
    from orlop.wire.compose_values import Fields

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MAX_WINDOWS = 64
WEEK_S = 7 * 86400.0
_TIME = r"([01]\d|2[0-3]):[0-5]\d"
_GROUP = r"[a-zA-Z0-9.-]{1,64}"


def _windows(fields: Fields, key: str) -> Json:
    return [_window(entry) for entry in fields.entries(key, "windows", MAX_WINDOWS)]


def _window(fields: Fields) -> dict[str, Json]:
    days = _days(fields, "days")
    start = fields.string("start")
    if re.fullmatch(_TIME, start) is None:
        fields.fail("start", f'must be a time of day such as "02:00", not {start[:20]!r}')
    length_s = fields.duration_s("length", 0.0)
    fields.finish()
    if not 60 <= length_s <= WEEK_S or length_s % 60:
        fields.fail("length", "must be a number of minutes such as 2h, up to 168h")
    return {"days": [*days], "start": start, "length": f"{length_s / 60:.0f}m"}


def _days(fields: Fields, key: str) -> list[str]:
    """Names and ranges of them, in the order of the week; all if none are given."""
    found: set[str] = set()
    for index, text in enumerate(fields.strings(key)):
        first, _, last = text.lower().partition("-")
        last = last or first
        if first not in DAYS or last not in DAYS:
            days = ", ".join(DAYS)
            fields.fail(f"{key}[{index}]", f"must be a day ({days}) or mon-fri, not {text[:20]!r}")
        low, high = DAYS.index(first), DAYS.index(last)
        both = DAYS + DAYS
        found |= {*both[low : (high if high >= low else high + 7) + 1]}
    return [day for day in DAYS if day in found or not found]


def _url(fields: Fields, key: str) -> Json:
    text = fields.string(key)
    if not is_url(text) or "?" in text or "#" in text:
        fields.fail(key, f"must be a URL such as https://locks.example/, not {text[:80]!r}")
    return text


def _group(fields: Fields, key: str) -> Json:
    text = fields.string(key)
    if re.fullmatch(_GROUP, text) is None:
        fields.fail(key, f"must be letters, digits, points and hyphens, not {text[:80]!r}")
    return text


WINDOWS = Kind(
    "list of {days, start, length}",
    {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "days": {"type": ["array", "string"], "items": {"type": "string"}},
                "start": {"type": "string"},
                "length": {"type": "string"},
            },
            "additionalProperties": False,
        },
    },
    _windows,
)
LOCK_URL = Kind("http://HOST[:PORT]/PATH, https://...", {"type": "string"}, _url)
GROUP = Kind("letters, digits, points, hyphens", {"type": "string"}, _group)
DRAIN = duration(0, 3600)
