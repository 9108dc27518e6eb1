"""The `WWW-Authenticate` header: what a registry wants before it answers.

Several challenges may share one header, and parameters may be quoted with commas in them. Source:
RFC 9110, 11.6.1; the lenience is that of Docker's client: a broken rest is dropped, not an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_HEADER_LENGTH = 8192
"""A longer one is no challenge but an attempt to keep us busy."""

_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_SPACE = " \t"


@dataclass(frozen=True, slots=True)
class Challenge:
    """*scheme* and the names of *parameters* are in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Every challenge of every `WWW-Authenticate` header, in order."""
    return [challenge for header in headers for challenge in _parse_one(header)]


def find_challenge(challenges: Iterable[Challenge], scheme: str) -> Challenge | None:
    """The first of *scheme*."""
    return next((challenge for challenge in challenges if challenge.scheme == scheme), None)


def _parse_one(header: str) -> list[Challenge]:
    if len(header) > MAX_HEADER_LENGTH:
        return []
    found: list[tuple[str, dict[str, str]]] = []
    at = 0
    while True:
        at = _skip(header, at, _SPACE + ",")
        word, at = _token(header, at)
        if not word:
            break
        after = _skip(header, at, _SPACE)
        if after < len(header) and header[after] == "=" and found:
            value, at = _value(header, _skip(header, after + 1, _SPACE))
            if value is None:
                break
            found[-1][1].setdefault(word.lower(), value)
        else:
            found.append((word.lower(), {}))
    return [Challenge(scheme, parameters) for scheme, parameters in found]


def _skip(text: str, at: int, characters: str) -> int:
    while at < len(text) and text[at] in characters:
        at += 1
    return at


def _token(text: str, at: int) -> tuple[str, int]:
    end = at
    while end < len(text) and text[end] in _TOKEN:
        end += 1
    return text[at:end], end


def _value(text: str, at: int) -> tuple[str | None, int]:
    """A token or a quoted string; None if a quoted one does not end."""
    if at >= len(text) or text[at] != '"':
        return _token(text, at)
    parts: list[str] = []
    at += 1
    while at < len(text):
        if text[at] == '"':
            return "".join(parts), at + 1
        if text[at] == "\\" and at + 1 < len(text):
            at += 1
        parts.append(text[at])
        at += 1
    return None, at
