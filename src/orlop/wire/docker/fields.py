"""Typed access to the JSON objects of Docker API requests.

Docker's clients send every field, with null, zero or empty for "not set", so all of these are the
default. A value of another type is an error which names the path of the field. The case of names
does not matter, as it does not to dockerd: some clients send `detachKeys` or `hostname`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_ITEMS = 10_000
"""In one list or object: a request with more is no request."""


def quoted(text: str) -> str:
    """*text* in double quotes, cut where it is long, as dockerd's messages have it."""
    return json.dumps(text[:200], ensure_ascii=False)


class Object:
    """A JSON object at *where* in a request."""

    def __init__(self, data: Mapping[str, object], where: str = "") -> None:
        self._data = data
        self._where = where
        self._folded: dict[str, object] | None = None

    def __contains__(self, key: str) -> bool:
        return self._get(key) is not None

    def _get(self, key: str) -> object:
        """The value of *key*, or of a name that differs in case alone; None when not set."""
        if key in self._data:
            return self._data[key]
        if self._folded is None:
            self._folded = {name.lower(): value for name, value in self._data.items()}
        return self._folded.get(key.lower())

    def items(self) -> Iterator[tuple[str, object]]:
        """What is there, unchecked."""
        return iter(self._data.items())

    def path(self, key: str) -> str:
        """How the field is called in messages."""
        return f"{self._where}.{key}" if self._where else key

    def text(self, key: str, default: str = "") -> str:
        value = self._get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self._wrong(key, "a string")
        return value

    def flag(self, key: str, *, default: bool = False) -> bool:
        value = self._get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._wrong(key, "a boolean")
        return value

    def integer(self, key: str, default: int = 0) -> int:
        value = self._get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(key, "a whole number")
        return value

    def section(self, key: str) -> Object:
        """Empty when not set."""
        value = self._get(key)
        if value is None:
            return Object({}, self.path(key))
        if not isinstance(value, dict):
            raise self._wrong(key, "an object")
        return Object(value, self.path(key))

    def sections(self, key: str) -> list[Object]:
        return [
            Object(self._as_dict(item, f"{key}[{index}]"), self.path(f"{key}[{index}]"))
            for index, item in enumerate(self._list(key))
        ]

    def texts(self, key: str) -> tuple[str, ...]:
        items = self._list(key)
        if not all(isinstance(item, str) for item in items):
            raise self._wrong(key, "a list of strings")
        return tuple(str(item) for item in items)

    def lists(self, key: str) -> tuple[tuple[str, ...], ...]:
        """A list of lists of strings."""
        found: list[tuple[str, ...]] = []
        for item in self._list(key):
            if not isinstance(item, list) or not all(isinstance(word, str) for word in item):
                raise self._wrong(key, "a list of lists of strings")
            found.append(tuple(item))
        return tuple(found)

    def integers(self, key: str) -> tuple[int, ...]:
        found: list[int] = []
        for item in self._list(key):
            if isinstance(item, bool) or not isinstance(item, int):
                raise self._wrong(key, "a list of whole numbers")
            found.append(item)
        return tuple(found)

    def text_or_texts(self, key: str) -> tuple[str, ...] | None:
        """A list of strings, where one string is a list of one; None when not set."""
        value = self._get(key)
        if value is None:
            return None
        if isinstance(value, str):
            return (value,)
        return self.texts(key)

    def text_map(self, key: str) -> tuple[tuple[str, str], ...]:
        """An object of strings, in its order."""
        value = self._get(key)
        if value is None:
            return ()
        data = self._as_dict(value, key)
        if len(data) > MAX_ITEMS or not all(isinstance(item, str) for item in data.values()):
            raise self._wrong(key, "an object of strings")
        return tuple((name, str(item)) for name, item in data.items())

    def keys(self, key: str) -> tuple[str, ...]:
        """The names in an object whose values do not matter."""
        value = self._get(key)
        return () if value is None else tuple(self._as_dict(value, key))

    def _list(self, key: str) -> list[object]:
        value = self._get(key)
        if value is None:
            return []
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            raise self._wrong(key, "a list")
        return value

    def _as_dict(self, value: object, key: str) -> dict[str, object]:
        if not isinstance(value, dict):
            raise self._wrong(key, "an object")
        return value

    def _wrong(self, key: str, expected: str) -> InvalidArgument:
        return InvalidArgument(f"invalid request: {self.path(key)} must be {expected}")
