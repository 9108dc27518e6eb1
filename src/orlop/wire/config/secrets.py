"""Which values nobody is shown, and how they are kept out of a document. Pure.

A pattern is a path with `NAME` for any name and `[]` for each item of a list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orlop.wire.compose_model import Json

    type Pattern = Sequence[str]

HIDDEN = "(hidden)"
ANY = "NAME"
EACH = "[]"


def hide(
    data: Mapping[str, Json], patterns: Iterable[Pattern], *, leave_out: bool = False
) -> dict[str, Json]:
    """*data* with `HIDDEN` instead of each secret value, or without it."""
    found: dict[str, Json] = dict(data)
    for pattern in patterns:
        _replace(found, list(pattern), leave_out)
    return found


def _replace(data: dict[str, Json], pattern: list[str], leave_out: bool) -> None:
    first, *rest = pattern
    for name in [*data] if first == ANY else [first] * (first in data):
        value = data[name]
        if not rest and leave_out:
            del data[name]
        elif not rest:
            data[name] = HIDDEN
        elif rest[0] == EACH and isinstance(value, list):
            items = [dict(item) if isinstance(item, dict) else item for item in value]
            for item in items:
                if isinstance(item, dict):
                    _replace(item, rest[1:], leave_out)
            data[name] = items
        elif isinstance(value, dict):
            copy = dict(value)
            _replace(copy, rest, leave_out)
            if copy or not value:
                data[name] = copy
            else:
                del data[name]


def split(
    data: Mapping[str, Json], patterns: Iterable[Pattern]
) -> tuple[dict[str, Json], dict[str, Json]]:
    """*data* without its secrets, and these; `merge` of the two is *data* again.

    A list some of whose items have secrets is a secret as a whole: lists do not merge.
    """
    public: dict[str, Json] = {}
    secret: dict[str, Json] = {}
    wanted = [list(pattern) for pattern in patterns]
    for name, value in data.items():
        plain = name.removesuffix("+")
        inner = [pattern[1:] for pattern in wanted if pattern[0] in (ANY, plain)]
        if isinstance(value, dict):
            there, here = split(value, [pattern for pattern in inner if pattern])
            if there or not here:
                public[name] = there
            if here:
                secret[name] = here
        elif any(_is_secret(value, pattern) for pattern in inner):
            secret[name] = value
        else:
            public[name] = value
    return public, secret


def _is_secret(value: Json, rest: list[str]) -> bool:
    if not rest:
        return True
    items = value if isinstance(value, list) else []
    return any(isinstance(item, dict) and rest[1] in item for item in items)
