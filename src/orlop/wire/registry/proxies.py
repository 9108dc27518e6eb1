"""Which proxies there are: a part of every engine's settings, so it loads nothing.

What they are used for is `proxy_rules`'.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxies:
    """Addresses of proxies, empty for none, and what is asked without."""

    http: str = ""
    https: str = ""
    none: tuple[str, ...] = ()


def without_password(url: str) -> str:
    """*url* as it may be shown, as dockerd does it."""
    scheme, mark, rest = url.partition("://")
    _, at, place = rest.rpartition("@")
    return f"{scheme}{mark}xxxxx:xxxxx@{place}" if mark and at else url
