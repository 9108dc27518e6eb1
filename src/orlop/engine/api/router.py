"""Which function answers which path.

A pattern is a path whose `{name}` parts match one segment each (`{name:path}` the rest, slashes
included). Requests may carry a version prefix (`/v1.47/…`), removed before matching.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from orlop.engine.api.exchange import Exchange

MIN_VERSION = (1, 24)
MAX_VERSION = (1, 47)

_VERSION = re.compile(r"/v(\d{1,3})\.(\d{1,3})(?=/)")

type Handler = Callable[[Exchange], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Route:
    """Requests of *method* to *pattern* go to *handler*.

    The handler reads `exchange.parameters`, `exchange.query` and `await exchange.json()`, and
    answers with `await exchange.respond_json(status, value)` or `exchange.respond_empty(204)`.
    What it raises becomes the error response: an OrlopError by its kind, anything else 500.
    """

    method: str
    pattern: str
    handler: Handler


def bind[*Served](
    *served: *Served,
) -> Callable[[str, str, Callable[[*Served, Exchange], Awaitable[None]]], Route]:
    """What makes routes whose handlers get *served*, such as the engine, before the exchange."""

    def on(
        method: str, pattern: str, handler: Callable[[*Served, Exchange], Awaitable[None]]
    ) -> Route:
        async def bound(exchange: Exchange) -> None:
            await handler(*served, exchange)

        return Route(method, pattern, bound)

    return on


class Router:
    """Finds the route of a request; of two that fit, one without parts to fill, then the first."""

    def __init__(
        self,
        routes: Iterable[Route],
        late: Mapping[str, Callable[[], Iterable[Route]]] | None = None,
    ) -> None:
        """*late* has what makes further routes, by the first or last segment of their paths.

        It is called when a request with such a path comes: an engine that nobody asks for images
        does not carry the code for them.
        """
        self._exact: dict[tuple[str, str], Route] = {}
        self._patterns: list[tuple[list[str], Route]] = []
        self._late = dict(late or {})
        self._add(routes)

    def _add(self, routes: Iterable[Route]) -> None:
        for route in routes:
            if "{" in route.pattern:
                self._patterns.append((route.pattern.strip("/").split("/"), route))
            else:
                self._exact.setdefault((route.method, route.pattern), route)

    async def dispatch(self, exchange: Exchange) -> None:
        """Have *exchange* answered.

        Raises:
            NotFound: no such path. InvalidArgument: a version that is not spoken here.
        """
        path = exchange.path
        match = _VERSION.match(path)
        if match is not None:
            exchange.api_version = check_version(int(match[1]), int(match[2]))
            path = path[match.end() :]
        if exchange.method == "OPTIONS":
            await exchange.respond_empty(200)
            return
        self._load(path)
        route = self._exact.get((exchange.method, path))
        if route is None:
            route = self._find(exchange, path)
        await route.handler(exchange)

    def _load(self, path: str) -> None:
        parts = path.strip("/").split("/")
        for segment in (parts[0], parts[-1]):
            if (make := self._late.pop(segment, None)) is not None:
                self._add(make())

    def _find(self, exchange: Exchange, path: str) -> Route:
        parts = path.strip("/").split("/")
        for pattern, route in self._patterns:
            if route.method == exchange.method:
                found = match_path(pattern, parts)
                if found is not None:
                    exchange.parameters = found
                    return route
        raise NotFound("page not found")


def match_path(pattern: list[str], parts: list[str]) -> dict[str, str] | None:
    """What the `{name}` segments of *pattern* stand for in *parts*; None: it does not fit."""
    found = {}
    for index, segment in enumerate(pattern):
        if segment.endswith(":path}"):
            # The rest of the pattern after a path part is matched from the end.
            after = len(pattern) - index - 1
            end = len(parts) - after
            if end <= index or pattern[index + 1 :] != parts[end:]:
                return None
            found[segment[1:-6]] = "/".join(parts[index:end])
            return found
        if index >= len(parts):
            return None
        if segment.startswith("{"):
            found[segment[1:-1]] = parts[index]
        elif segment != parts[index]:
            return None
    return found if len(pattern) == len(parts) else None


def check_version(major: int, minor: int) -> tuple[int, int]:
    """Refuse versions older than the oldest that is spoken, in dockerd's words; newer ones pass."""
    if (major, minor) < MIN_VERSION:
        raise InvalidArgument(
            f"client version {major}.{minor} is too old. Minimum supported API version is "
            f"{MIN_VERSION[0]}.{MIN_VERSION[1]}, please upgrade your client to a newer version"
        )
    if (major, minor) > MAX_VERSION:
        raise InvalidArgument(
            f"client version {major}.{minor} is too new. Maximum supported API version is "
            f"{MAX_VERSION[0]}.{MAX_VERSION[1]}"
        )
    return major, minor
