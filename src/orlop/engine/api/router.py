"""Which function answers which path.

A pattern is a path whose `{name}` parts match one segment each (`{name:path}` the rest, slashes
included). Requests may carry a version prefix (`/v1.47/…`), removed before matching.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orlop.engine.api.exchange import Exchange

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
