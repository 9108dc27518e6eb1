"""Typed access to one mapping of a Compose file, with errors that say where and what.

A `Fields` hands out each key once, checked, and at the end refuses what nobody asked for, naming
the nearest key that exists. Values take the spellings of the Compose Specification: durations
(`1m30s`), byte sizes (`64m`, `1gb`), booleans, lists or maps of `KEY=VALUE`.

Nothing here knows which keys a service has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import NoReturn

from orlop.lib.errors import InvalidArgument
from orlop.lib.units import parse_duration_s, parse_size_bytes

type Locate = Callable[[tuple[str, ...]], str]
"""Turns the path of a key into a prefix such as `service.yml:12: ` (empty if not known)."""

# A definition is written by hand; what is longer than this is a mistake or an attack.
MAX_ITEMS = 256
MAX_STRING_LENGTH = 16 * 1024


def nearest(word: str, words: Sequence[str]) -> str | None:
    """The one of *words* that *word* was most likely meant to be, or None."""
    from difflib import get_close_matches  # 20 ms to import in an emulator, for errors only

    return next(iter(get_close_matches(word, words, n=1, cutoff=0.6)), None)


class Fields:
    """The keys of one mapping, each taken once and checked.

    *what* names the owner in errors (`service web`), *path* is the place of the mapping in the
    file. Every method raises InvalidArgument for a value of the wrong kind.
    """

    def __init__(
        self, what: str, data: object, path: tuple[str, ...] = (), locate: Locate | None = None
    ) -> None:
        self.what = what
        self.path = path
        self._locate = locate
        self._asked: list[str] = []
        if not isinstance(data, Mapping):
            self.fail("", f"must be a map, not {kind_of(data)}")
        if len(data) > MAX_ITEMS:
            self.fail("", f"has more than {MAX_ITEMS} keys")
        for key in data:
            if not isinstance(key, str):
                self.fail("", f"has a key that is not a string: {key!r}")
        self._data: dict[str, object] = dict(data)

    def place(self, path: tuple[str, ...]) -> str:
        """Where *path* in this mapping is, as a prefix for errors."""
        return "" if self._locate is None else self._locate((*self.path, *path))

    def fail(self, key: str, problem: str, hint: str | None = None) -> NoReturn:
        """Raise InvalidArgument about *key* (empty: the mapping itself)."""
        path = (*self.path, key) if key else self.path
        place = self._locate(path) if self._locate is not None else ""
        where = f"{'.'.join(path)}: " if path else ""
        raise InvalidArgument(f"{place}{self.what}: {where}{problem}", hint=hint)

    def is_set(self, key: str) -> bool:
        """Whether *key* has a value; an empty one (YAML's null) does not count."""
        return self._data.get(key) is not None

    def keys(self) -> list[str]:
        """The keys nobody has taken yet."""
        return list(self._data)

    def take(self, key: str) -> object:
        """The raw value of *key*, None when absent."""
        self._asked.append(key)
        return self._data.pop(key, None)

    def nested(self, key: str) -> Fields | None:
        """The mapping at *key*; None when the key is absent or empty."""
        value = self.take(key)
        if value is None:
            return None
        return self.inner(key, value)

    def inner(self, key: str, value: object) -> Fields:
        """*value*, found at *key*, as a mapping of its own."""
        return Fields(self.what, value, (*self.path, *key.split(".")), self._locate)

    def entries(self, key: str, what: str, maximum: int) -> list[Fields]:
        """The mappings in the list at *key*, at most *maximum*; *what* they are, for messages."""
        value = self.take(key)
        if not isinstance(value, list):
            self.fail(key, f"must be a list of {what}")
        if len(value) > maximum:
            self.fail(key, f"has more than {maximum} {what}")
        return [self.inner(f"{key}[{index}]", item) for index, item in enumerate(value)]

    def children(self, key: str) -> dict[str, Fields | object]:
        """The entries of the mapping at *key*: nested mappings as Fields, the rest raw."""
        fields = self.nested(key)
        if fields is None:
            return {}
        return {
            name: Fields(self.what, value, (*fields.path, name), self._locate)
            if isinstance(value, Mapping)
            else value
            for name, value in fields._data.items()
        }

    def finish(self) -> None:
        """Refuse the keys that nobody took."""
        for key in self._data:
            guess = nearest(key, self._asked)
            self.fail(key, "unknown key", f"did you mean {guess}?" if guess else None)

    def string(self, key: str, default: str = "") -> str:
        value = self.take(key)
        return default if value is None else self.check_string(key, value)

    def optional_string(self, key: str) -> str | None:
        value = self.take(key)
        return None if value is None else self.check_string(key, value)

    def check_string(self, key: str, value: object) -> str:
        """*value* as text; numbers are accepted as they are written, booleans are not."""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            self.fail(key, f"must be a string, not {kind_of(value)}")
        text = str(value)
        if "\0" in text or len(text) > MAX_STRING_LENGTH:
            self.fail(key, "is too long or holds a NUL character")
        return text

    def boolean(self, key: str, default: bool = False) -> bool:
        value = self.take(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.fail(key, f"must be true or false, not {kind_of(value)}")
        return value

    def integer(self, key: str, low: int, high: int) -> int | None:
        """The whole number at *key*, which may be written as a string; None when absent."""
        value = self.take(key)
        if value is None:
            return None
        number = self.check_integer(key, value)
        if not low <= number <= high:
            self.fail(key, f"must be from {low} to {high}, not {number}")
        return number

    def check_integer(self, key: str, value: object) -> int:
        if isinstance(value, str):
            try:
                return int(value, 10)
            except ValueError:
                pass
        if isinstance(value, bool) or not isinstance(value, int):
            self.fail(key, f"must be a whole number, not {value!r}")
        return value

    def number(self, key: str, low: float, high: float) -> float | None:
        value = self.take(key)
        if value is None:
            return None
        try:
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise ValueError(value)
            number = float(value)
        except ValueError:
            self.fail(key, f"must be a number, not {value!r}")
        if not low <= number <= high:
            self.fail(key, f"must be from {low:g} to {high:g}, not {number:g}")
        return number

    def size_bytes(self, key: str) -> int | None:
        value = self.take(key)
        if value is None:
            return None
        try:
            return parse_size_bytes(self.check_string(key, value))
        except InvalidArgument:
            self.fail(key, f"must be a size such as 64m, not {value!r}")

    def duration_s(self, key: str, default: float) -> float:
        value = self.take(key)
        if value is None:
            return default
        try:
            return parse_duration_s(self.check_string(key, value))
        except InvalidArgument:
            self.fail(key, f"must be a duration such as 1m30s, not {value!r}")

    def choice[E: StrEnum](self, key: str, default: E) -> E:
        """The member of *default*'s class that *key* names."""
        value = self.take(key)
        if value is None:
            return default
        return self.check_choice(key, value, type(default))

    def check_choice[E: StrEnum](self, key: str, value: object, kind: type[E]) -> E:
        words = [member.value for member in kind]
        if not isinstance(value, str) or value not in words:
            guess = nearest(value, words) if isinstance(value, str) else None
            self.fail(
                key,
                f"must be one of {', '.join(words)}, not {value!r}",
                f"did you mean {guess}?" if guess else None,
            )
        return kind(value)

    def strings(self, key: str) -> tuple[str, ...]:
        """A list of strings; a single one may stand for a list of one."""
        value = self.take(key)
        if value is None:
            return ()
        if isinstance(value, str):
            return (self.check_string(key, value),)
        return self.check_strings(key, value)

    def check_strings(self, key: str, value: object) -> tuple[str, ...]:
        if not isinstance(value, list | tuple):
            self.fail(key, f"must be a list of strings, not {kind_of(value)}")
        if len(value) > MAX_ITEMS:
            self.fail(key, f"has more than {MAX_ITEMS} items")
        return tuple(self.check_string(f"{key}[{index}]", item) for index, item in enumerate(value))

    def pairs(self, key: str) -> tuple[tuple[str, str], ...]:
        """A map of strings, or a list of `KEY=VALUE`; a later duplicate is an error."""
        value = self.take(key)
        if value is None:
            return ()
        found: dict[str, str] = {}
        if isinstance(value, Mapping):
            for name, item in value.items():
                text = "" if item is None else self.check_string(f"{key}.{name}", item)
                found[self.check_string(key, name)] = text
        else:
            for item in self.check_strings(key, value):
                name, equals, text = item.partition("=")
                if not name or not equals:
                    self.fail(key, f"must hold KEY=VALUE, not {item!r}")
                if name in found:
                    self.fail(key, f"holds {name} twice")
                found[name] = text
        return tuple(found.items())


def kind_of(value: object) -> str:
    """What *value* is, for whoever wrote it."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case int() | float():
            return "a number"
        case Mapping():
            return "a map"
        case list() | tuple():
            return "a list"
        case _:
            return type(value).__name__
