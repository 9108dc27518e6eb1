"""`--since`: a point in time as people write it."""

from __future__ import annotations

import time

from orlop.cli.arguments import UsageError
from orlop.cli.text import parse_time
from orlop.lib.errors import InvalidArgument
from orlop.lib.units import parse_duration_s


def parse_moment(text: str) -> float:
    """Seconds since 1970 of `10m` (so long ago), `2026-01-31T12:00:00Z`, or of a number of them.

    Raises:
        UsageError: none of these.
    """
    if text.replace(".", "", 1).isdigit():
        return float(text)
    try:
        return time.time() - parse_duration_s(text)
    except InvalidArgument:
        pass
    moment = parse_time(text)
    if moment is None:
        raise UsageError(
            f"{text!r} is no time", hint="10m, 2h, or 2026-01-31T12:00:00Z, which is UTC"
        )
    return moment
