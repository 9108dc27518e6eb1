"""`--since` and `--until`: a time, or for how long, as the API takes it."""

from __future__ import annotations

import time

from orlop.cli.docker.failure import Failure
from orlop.cli.docker.flags import parse_duration_ns
from orlop.cli.text import parse_time

NANOSECONDS = 1_000_000_000


def moment(text: str, name: str = "since") -> str | None:
    """`10m`, `2026-01-31T12:00:00Z`, `2026-01-31`, `1700000000.5` as seconds with a fraction.

    Raises:
        Failure: *text* is none of these; *name* is the flag, if it is to be named.
    """
    if not text:
        return None
    try:
        ago_ns = parse_duration_ns(text)
    except ValueError:
        pass
    else:
        return _shown(time.time_ns() - ago_ns)
    seconds, _, fraction = text.partition(".")
    if seconds.isdigit() and (not fraction or fraction.isdigit()):
        return text
    found = parse_time(_local(text)) if "-" in text else None
    if found is None:
        where = f'invalid value for "{name}": ' if name else ""
        raise Failure(f'{where}failed to parse value as time or duration: "{text}"')
    return _shown(round(found * 1_000_000) * 1000)


def _local(text: str) -> str:
    """A time without a zone is one of this machine's."""
    date, t, clock = text.partition("T")
    if t and any(sign in clock for sign in "Z+-"):
        return text.replace("Z", "+00:00")
    offset = time.strftime("%z")
    return f"{date}T{clock or '00:00:00'}{offset[:3]}:{offset[3:]}"


def _shown(nanoseconds: int) -> str:
    return f"{nanoseconds // NANOSECONDS}.{nanoseconds % NANOSECONDS:09d}"
