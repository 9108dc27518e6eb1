"""Small headers of a registry's answers: `Link`, `Content-Range`, `Retry-After`."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

MAX_RETRY_AFTER_S = 120.0
"""A registry that wants to wait longer is answered with its error instead."""

_LINK = re.compile(r"\s*<([^<>]{1,4096})>\s*((?:;[^,]*)?)(?:,|$)")
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")


def next_page(header: str, url: str) -> str | None:
    """Where a list goes on, from the `Link` header of the answer to *url*.

    Only on the same host and scheme: nothing else may see our token. None at the end.
    """
    for target, parameters in _LINK.findall(header[:16384]):
        rel = re.search(r'rel\s*=\s*"?([^";]*)"?', parameters)
        if rel is not None and "next" not in rel[1].split():
            continue
        found = urljoin(url, target)
        here, there = urlsplit(url), urlsplit(found)
        same = (here.scheme, here.netloc) == (there.scheme, there.netloc)
        return found if same else None
    return None


def parse_content_range(header: str) -> tuple[int, int, int | None] | None:
    """First and last byte and the length of the whole, None if unknown; None if malformed."""
    found = _CONTENT_RANGE.fullmatch(header.strip())
    if found is None:
        return None
    first, last = int(found[1]), int(found[2])
    total = None if found[3] == "*" else int(found[3])
    if last < first or (total is not None and last >= total):
        return None
    return first, last, total


def parse_retry_after(header: str, now_s: float) -> float | None:
    """Seconds to wait: a number, or a date against *now_s* (seconds since 1970). None: unknown."""
    text = header.strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return float(text[:9])
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s)
    except (ValueError, TypeError, OverflowError):
        return None
