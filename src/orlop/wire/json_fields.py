"""JSON documents from outside, read within bounds: each field with its type, form and limit.

What is not asked for is left alone, so that a newer document can say more. Pure; input may be
hostile.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NoReturn

from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.wire.compose_model import Json

MAX_ITEMS = 4096
MAX_NUMBER = (1 << 53) - 1
"""What every reader of JSON can tell from its neighbour."""

SHA256 = re.compile(r"[0-9a-f]{64}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


class Fields:
    """A JSON object, called *where* in errors."""

    def __init__(self, data: Mapping[str, object], where: str) -> None:
        self._data = data
        self.where = where

    def error(self, key: str, problem: str) -> InvalidArgument:
        """That *key* is not as it should be, to be raised."""
        return InvalidArgument(f"{self.where}: {key} {problem}")

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def raw(self, key: str) -> object:
        """The value as it stands there, None if it does not."""
        return self._data.get(key)

    def text(
        self,
        key: str,
        form: re.Pattern[str] | None = None,
        *,
        default: str | None = None,
        limit: int = 256,
    ) -> str:
        """A string, of *form* as a whole if one is given, of at most *limit* characters."""
        if key not in self._data and default is not None:
            return default
        value = self._data.get(key)
        if not isinstance(value, str):
            raise self.error(key, "must be a string")
        if len(value) > limit:
            raise self.error(key, f"has more than {limit} characters")
        if form is not None and form.fullmatch(value) is None:
            raise self.error(key, f"is malformed: {value[:80]!r}")
        return value

    def number(
        self, key: str, low: int = 0, high: int = MAX_NUMBER, *, default: int | None = None
    ) -> int:
        """A whole number from *low* to *high*."""
        if key not in self._data and default is not None:
            return default
        value = self._data.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.error(key, f"must be a whole number from {low} to {high}")
        return value

    def flag(self, key: str, *, default: bool = False) -> bool:
        """A boolean."""
        value = self._data.get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, "must be true or false")
        return value

    def moment(self, key: str) -> int:
        """A time in UTC, `2026-11-30T12:00:00Z`, as seconds since 1970."""
        return parse_moment(self.text(key, TIME), f"{self.where}: {key}")

    def section(self, key: str) -> Fields:
        """An object."""
        value = self._data.get(key)
        if not isinstance(value, dict) or len(value) > MAX_ITEMS:
            raise self.error(key, "must be an object")
        return Fields(value, f"{self.where}: {key}")

    def sections(self, key: str) -> dict[str, Fields]:
        """An object of objects; empty if there is none."""
        if key not in self._data:
            return {}
        below = self.section(key)
        return {name: below.section(name) for name in self._data[key]}  # type: ignore[attr-defined]

    def items(self, key: str) -> list[object]:
        """A list; empty if there is none."""
        value = self._data.get(key, [])
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            raise self.error(key, "must be a list")
        return value

    def entries(self, key: str) -> list[Fields]:
        """A list of objects; empty if there is none."""
        found: list[Fields] = []
        for place, item in enumerate(self.items(key)):
            if not isinstance(item, dict):
                raise self.error(f"{key}[{place}]", "must be an object")
            found.append(Fields(item, f"{self.where}: {key}[{place}]"))
        return found


def parse_object(data: bytes, where: str, limit: int) -> Fields:
    """The JSON object in *data*, which has at most *limit* bytes.

    Raises:
        InvalidArgument: it is longer, no JSON in UTF-8, no object, or names something twice.
    """
    if len(data) > limit:
        raise InvalidArgument(f"{where}: more than {limit} bytes")
    try:
        value = json.loads(
            data.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as error:
        text = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise InvalidArgument(f"{where}: no JSON document: {text}") from error
    if not isinstance(value, dict):
        raise InvalidArgument(f"{where}: must be an object")
    return Fields(value, where)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def canonical(value: Mapping[str, Json]) -> bytes:
    """*value* as JSON in the one form in which it is signed: sorted, without spaces, in ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def parse_moment(text: str, where: str) -> int:
    """`2026-11-30T12:00:00Z` as seconds since 1970.

    Raises:
        InvalidArgument: there is no such moment.
    """
    from datetime import datetime

    try:
        return int(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError) as error:
        raise InvalidArgument(f"{where} is no time: {text[:40]!r}") from error


def format_moment(seconds: int) -> str:
    """The inverse of `parse_moment`."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
