"""Frozen dataclasses to JSON and back, for the files in which the engine keeps its state.

Fields may be str, int, float, bool, enums of strings, dataclasses, tuples of these, and optional
ones. An unknown or missing key is no error when the field has a default: a file may be a little
older or newer than the program. Anything else that does not fit is.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from orlop.wire.compose_model import Json

_hints: dict[type, dict[str, Any]] = {}


def encode(value: Any) -> Json:
    """*value* as JSON can hold it; fields at their default are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: encode(item)
            for field in dataclasses.fields(value)
            if (item := getattr(value, field.name)) != field.default
        }
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    if isinstance(value, StrEnum):
        return value.value
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"cannot store {type(value).__name__}")


def decode[T](kind: type[T], data: object, where: str = "") -> T:
    """*data* as a *kind*.

    Raises:
        InvalidArgument: it does not fit; *where* and the key are named.
    """
    return typing.cast("T", _decode(kind, data, where or kind.__name__))


def _decode(kind: Any, data: object, where: str) -> object:
    if isinstance(kind, typing.TypeAliasType):
        kind = kind.__value__
    origin = typing.get_origin(kind)
    if origin is tuple:
        return _decode_tuple(typing.get_args(kind), data, where)
    if origin in (types.UnionType, typing.Union):
        inner = [option for option in typing.get_args(kind) if option is not types.NoneType]
        return None if data is None else _decode(inner[0], data, where)
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(typing.cast("type", kind), data, where)
    if issubclass(kind, StrEnum):
        try:
            return kind(data)
        except ValueError as error:
            raise InvalidArgument(f"{where}: {data!r} is not one of its values") from error
    if kind is float and type(data) is int:
        return float(data)
    if type(data) is not kind:
        raise InvalidArgument(f"{where}: {kind.__name__} expected, not {type(data).__name__}")
    return data


def _decode_tuple(arguments: tuple[Any, ...], data: object, where: str) -> tuple[object, ...]:
    if not isinstance(data, list):
        raise InvalidArgument(f"{where}: a list expected")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_decode(arguments[0], item, where) for item in data)
    if len(arguments) != len(data):
        raise InvalidArgument(f"{where}: {len(arguments)} values expected, not {len(data)}")
    return tuple(_decode(kind, item, where) for kind, item in zip(arguments, data, strict=True))


def _decode_dataclass(kind: type, data: object, where: str) -> object:
    if not isinstance(data, dict):
        raise InvalidArgument(f"{where}: an object expected")
    hints = _hints.get(kind)
    if hints is None:
        hints = _hints[kind] = typing.get_type_hints(kind)
    values = {
        name: _decode(hint, data[name], f"{where}.{name}")
        for name, hint in hints.items()
        if name in data
    }
    try:
        return kind(**values)
    except TypeError as error:
        raise InvalidArgument(f"{where}: {error}") from error
