"""`--name=value` words of an instruction against those that it takes.

Source: BuildKit's frontend/dockerfile/instructions/bflag.go for the rules and the texts.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Kind(Enum):
    """What a flag may have."""

    TEXT = auto()
    TEXTS = auto()
    """Given any number of times."""
    SWITCH = auto()
    BUILDKIT = auto()
    """Exists, but needs BuildKit."""


class Flags:
    """What was given, by name."""

    def __init__(self, words: Sequence[str], known: Mapping[str, Kind]) -> None:
        """Check *words* against *known*.

        Raises:
            InvalidArgument: unknown, given twice, or with a value that it cannot have.
        """
        self._values: dict[str, list[str]] = {}
        for word in words:
            name, equals, value = word.removeprefix("--").partition("=")
            kind = known.get(name)
            if kind is None:
                raise InvalidArgument(f"unknown flag: --{name}")
            if kind is Kind.BUILDKIT:
                raise requires_buildkit(f"the --{name} option")
            if name in self._values and kind is not Kind.TEXTS:
                raise InvalidArgument(f"duplicate flag specified: {name}")
            if (kind is not Kind.SWITCH and not equals) or (equals and not value):
                raise InvalidArgument(f"missing a value on flag: {name}")
            if kind is Kind.SWITCH:
                value = value.lower() or "true"
                if value not in ("true", "false"):
                    raise InvalidArgument(
                        f"expecting boolean value for flag {name}, not: {value[:80]}"
                    )
            self._values.setdefault(name, []).append(value)

    def text(self, name: str) -> str:
        return self._values.get(name, [""])[-1]

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(self._values.get(name, ()))

    def switch(self, name: str) -> bool:
        return self.text(name) == "true"

    def given(self, name: str) -> bool:
        return name in self._values


def requires_buildkit(what: str) -> InvalidArgument:
    """The error for what only BuildKit can do, in dockerd's words."""
    return InvalidArgument(
        f"{what} requires BuildKit, which this engine does not have: it builds Dockerfiles itself"
    )
