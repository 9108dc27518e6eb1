"""Images that were bad, and when they may be tried again: `bad.json`.

The same bytes are not tried again for 8 h, after the second time for 12 h, then 1 d, 2 d, 4 d, 1 wk
and 2 wk. A release with a higher sequence number ends that, and so does a person who asks for it.
What a person has gone back from is among them, and is not tried again by itself at all.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from orlop.lib import atomic_file, known_fields

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BACK_OFF_H = (8, 12, 24, 48, 96, 168, 336)
LEFT = "rolled back"
"""The cause where a person has gone back from it."""


@dataclass(frozen=True, slots=True)
class Bad:
    """*at_s*: when it was bad for the last time, seconds since 1970. *sequence*: its release's."""

    count: int
    at_s: float
    sequence: int
    cause: str
    text: str = ""

    def eligible_s(self) -> float:
        """When it may be tried again; never is `math.inf`."""
        if self.cause == LEFT:
            return math.inf
        return self.at_s + 3600 * BACK_OFF_H[min(self.count, len(BACK_OFF_H)) - 1]


def left_s(bad: Bad, now_s: float) -> float:
    """How long it is left alone from *now_s*; a clock that was set back does not shorten that."""
    whole = bad.eligible_s() - bad.at_s
    return max(0.0, whole - max(0.0, now_s - bad.at_s))


def dated(known: Mapping[str, Bad], now_s: float, floor_s: float) -> dict[str, Bad]:
    """*known*, where nothing was bad before *floor_s*, when this system was made, nor after now:
    a clock that was wrong then would have it left alone for no time, or for decades."""
    if now_s < floor_s:
        return dict(known)
    return {
        digest: one if floor_s <= one.at_s <= now_s else replace(one, at_s=now_s)
        for digest, one in known.items()
    }


def read(path: Path) -> dict[str, Bad]:
    """What is known, by the image's SHA-256."""
    try:
        found = json.loads(path.read_bytes())
        return {str(digest): known_fields.make(Bad, fields) for digest, fields in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write(path: Path, known: Mapping[str, Bad]) -> None:
    """Durably."""
    text = json.dumps({digest: asdict(bad) for digest, bad in known.items()}, indent=1)
    atomic_file.write_text(path, text, mode=0o600)


def add(known: Mapping[str, Bad], digest: str, bad: Bad) -> dict[str, Bad]:
    """*known* with one time more; *bad* has a count of 1."""
    before = known[digest].count if digest in known else 0
    fields = asdict(bad) | {"count": before + 1}
    return {**known, digest: Bad(**fields)}


def without_older(known: Mapping[str, Bad], sequence: int) -> dict[str, Bad]:
    """What is left of *known* when a release with *sequence* is there."""
    return {digest: bad for digest, bad in known.items() if bad.sequence >= sequence}
