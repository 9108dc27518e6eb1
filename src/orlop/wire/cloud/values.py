"""Looking into answers that may hold anything: what is missing or of another kind is empty."""

from __future__ import annotations

import json
from collections.abc import Mapping

from orlop.lib.errors import InvalidArgument

MAX_ITEMS = 256
"""Of a list: a machine has no more interfaces, keys or addresses than that."""


def parse_json(what: str, data: bytes) -> object:
    """The document in *data*.

    Raises:
        InvalidArgument: it is none; *what* names it.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{what} is not JSON: {error}") from error


def parse_json_map(what: str, data: bytes) -> Mapping[str, object]:
    """The object in *data*; InvalidArgument if there is none."""
    found = parse_json(what, data)
    if not isinstance(found, dict):
        raise InvalidArgument(f"{what} is no JSON object")
    return found


def dig(data: object, *path: str) -> object:
    """The value below the keys *path*; None when it is not there."""
    for key in path:
        if not isinstance(data, Mapping):
            return None
        data = data.get(key)
    return data


def text(data: object, *path: str) -> str:
    """The string or number below *path* as text without surrounding space; else nothing."""
    value = dig(data, *path)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value).strip()


def number(data: object, *path: str) -> int | None:
    """The whole number below *path*, also one written as text."""
    value = text(data, *path)
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else None


def mapping(data: object, *path: str) -> Mapping[str, object]:
    """The object below *path*."""
    value = dig(data, *path)
    return value if isinstance(value, Mapping) else {}


def items(data: object, *path: str) -> list[object]:
    """The list below *path*; a single value is a list of one."""
    value = dig(data, *path)
    if isinstance(value, list | tuple):
        return list(value[:MAX_ITEMS])
    return [] if value in (None, "") or isinstance(value, Mapping) else [value]


def texts(data: object, *path: str) -> list[str]:
    """The strings of the list below *path*, without empty ones."""
    found = (item.strip() for item in items(data, *path) if isinstance(item, str))
    return [item for item in found if item]


def lines(value: str) -> list[str]:
    """The lines of *value* with something on them."""
    found = (line.strip() for line in value.splitlines())
    return [line for line in found if line][:MAX_ITEMS]
