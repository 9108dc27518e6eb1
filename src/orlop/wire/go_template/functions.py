"""The functions of templates: Go's own, and those that docker's command adds.

Each takes the list of its arguments. Source: Go's text/template, "Functions"; docker/cli,
docs "Format command and log output".
"""

from __future__ import annotations

from orlop.wire.go_template.printf import printf
from orlop.wire.go_template.values import (
    NIL_LIST,
    NIL_MAP,
    Map,
    Missing,
    Nil,
    is_true,
    json_text,
    show,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    type Function = Callable[[Sequence[object]], object]


class CallError(Exception):
    """The function refuses its arguments; the evaluator says where that was."""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise CallError(f"wrong type for value; expected string; got {kind_of(value)}")
    return value


def kind_of(value: object) -> str:
    """The Go type that *value* would have, for errors."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float64"
    if isinstance(value, str):
        return "string"
    if isinstance(value, list):
        return "[]string" if all(isinstance(each, str) for each in value) else "[]interface {}"
    return "map[string]interface {}" if isinstance(value, dict) else "<nil>"


def _length(arguments: Sequence[object]) -> object:
    (value,) = arguments
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, Nil):
        return 0
    if isinstance(value, list | Map):
        return len(value)
    if value is None or isinstance(value, Missing):
        raise CallError("error calling len: len of nil pointer")
    raise CallError(f"error calling len: len of type {kind_of(value)}")


def _index(arguments: Sequence[object]) -> object:
    value, *keys = arguments
    for key in keys:
        value = _item(value, key)
    return value


def _item(value: object, key: object) -> object:
    if value is None or isinstance(value, Missing):
        raise CallError("error calling index: index of untyped nil")
    if value is NIL_MAP:
        return ""
    if value is NIL_LIST:
        value = []
    if isinstance(value, Map):
        if not isinstance(key, str):
            raise CallError(f"error calling index: value has type {kind_of(key)}; should be string")
        return value.get(key, "" if all(isinstance(each, str) for each in value.values()) else None)
    if isinstance(value, list | str):
        if isinstance(key, bool) or not isinstance(key, int):
            raise CallError(
                f"error calling index: cannot index slice/array with type {kind_of(key)}"
            )
        items: Sequence[object] = value.encode() if isinstance(value, str) else value
        if not 0 <= key < len(items):
            raise CallError(f"error calling index: index out of range: {key}")
        return items[key]
    raise CallError(f"error calling index: can't index item of type {kind_of(value)}")


def _slice(arguments: Sequence[object]) -> object:
    value, *bounds = arguments
    if not isinstance(value, str | list):
        raise CallError(f"error calling slice: can't slice item of type {kind_of(value)}")
    items: bytes | list[object] = value.encode() if isinstance(value, str) else value
    numbers = [each for each in bounds if isinstance(each, int)]
    for number in numbers:
        if not 0 <= number <= len(items):
            raise CallError(f"error calling slice: index out of range: {number}")
    part = items[slice(*(numbers[:2] if len(numbers) > 1 else [*numbers, None][:2]))]
    return part.decode(errors="replace") if isinstance(part, bytes) else part


def _compared(arguments: Sequence[object]) -> tuple[object, object]:
    left, right = arguments[0], arguments[1]
    if isinstance(left, int) and isinstance(right, int):
        if isinstance(left, bool) == isinstance(right, bool):
            return left, right
    elif type(left) is type(right) and isinstance(left, str | float):
        return left, right
    raise CallError("incompatible types for comparison")


def _equal(arguments: Sequence[object]) -> object:
    first, *others = arguments
    if not others:
        raise CallError("missing argument for comparison")
    for other in others:
        if first is None or other is None:
            if first is other:
                return True
            continue
        left, right = _compared((first, other))
        if left == right:
            return True
    return False


def _less(arguments: Sequence[object]) -> bool:
    left, right = _compared(arguments)
    return bool(left < right)  # type: ignore[operator]


def _not_equal(arguments: Sequence[object]) -> object:
    return not _equal(arguments)


def _print(arguments: Sequence[object]) -> str:
    out = ""
    for number, value in enumerate(arguments):
        if number and not isinstance(value, str) and not isinstance(arguments[number - 1], str):
            out += " "
        out += show(value)
    return out


def _printf(arguments: Sequence[object]) -> object:
    return printf(_text(arguments[0]), list(arguments[1:]))


def _join(arguments: Sequence[object]) -> object:
    values, separator = arguments
    if isinstance(values, Nil):
        return ""
    if not isinstance(values, list):
        raise CallError(f"wrong type for value; expected []string; got {kind_of(values)}")
    return _text(separator).join(_text(each) for each in values)


def _split(arguments: Sequence[object]) -> object:
    text, separator = map(_text, arguments)
    return text.split(separator) if separator else list(text)


def _pad(arguments: Sequence[object]) -> object:
    text, before, after = _text(arguments[0]), arguments[1], arguments[2]
    if not isinstance(before, int) or not isinstance(after, int) or max(before, after) > 1000:
        raise CallError("error calling pad: not a width")
    return " " * before + text + " " * after if text else ""


def _truncate(arguments: Sequence[object]) -> object:
    text, length = _text(arguments[0]), arguments[1]
    if not isinstance(length, int):
        raise CallError(f"wrong type for value; expected int; got {kind_of(length)}")
    return text[:length] if length <= len(text) else text


def _title(arguments: Sequence[object]) -> object:
    text, out, before = _text(arguments[0]), [], " "
    for char in text:
        is_start = not (before.isalnum() or before in "_'")
        out.append(char.upper() if is_start else char)
        before = char
    return "".join(out)


def _html(arguments: Sequence[object]) -> object:
    text = _print(arguments)
    for char, name in (
        ("&", "&amp;"),
        ("'", "&#39;"),
        ('"', "&#34;"),
        ("<", "&lt;"),
        (">", "&gt;"),
    ):
        text = text.replace(char, name)
    return text


def _urlquery(arguments: Sequence[object]) -> object:
    data = _print(arguments).encode()
    safe = b"-_.~"
    return "".join(
        "+"
        if byte == 32
        else chr(byte)
        if (chr(byte).isalnum() and byte < 128) or byte in safe
        else f"%{byte:02X}"
        for byte in data
    )


def _js(arguments: Sequence[object]) -> object:
    escapes = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026"}
    escapes["="] = "\\u003D"
    return "".join(
        escapes.get(char) or (char if char.isprintable() else f"\\u{ord(char):04X}")
        for char in _print(arguments)
    )


FUNCTIONS: Mapping[str, tuple[Function, int, int]] = {
    "html": (_html, 1, 100),
    "index": (_index, 1, 100),
    "js": (_js, 1, 100),
    "len": (_length, 1, 1),
    "not": (lambda arguments: not is_true(arguments[0]), 1, 1),
    "print": (_print, 0, 100),
    "printf": (_printf, 1, 100),
    "println": (lambda arguments: " ".join(map(show, arguments)) + "\n", 0, 100),
    "slice": (_slice, 1, 3),
    "urlquery": (_urlquery, 1, 100),
    "eq": (_equal, 1, 100),
    "ne": (_not_equal, 2, 2),
    "lt": (_less, 2, 2),
    "le": (lambda arguments: _less(arguments) or _equal(arguments), 2, 2),
    "gt": (lambda arguments: not (_less(arguments) or _equal(arguments)), 2, 2),
    "ge": (lambda arguments: not _less(arguments), 2, 2),
    "json": (lambda arguments: json_text(arguments[0]), 1, 1),
    "join": (_join, 2, 2),
    "split": (_split, 2, 2),
    "title": (_title, 1, 1),
    "lower": (lambda arguments: _text(arguments[0]).lower(), 1, 1),
    "upper": (lambda arguments: _text(arguments[0]).upper(), 1, 1),
    "pad": (_pad, 3, 3),
    "truncate": (_truncate, 2, 2),
}
"""Name to the function, and how many arguments it takes, at least and at most.

`and` and `or` are the evaluator's: they do not look at all of their arguments.
"""

NAMES = frozenset((*FUNCTIONS, "and", "or"))

HEADER_FUNCTIONS: Mapping[str, tuple[Function, int, int]] = {
    **FUNCTIONS,
    "json": (lambda arguments: show(arguments[0]), 1, 1),
    "split": (lambda arguments: show(arguments[0]), 1, 2),
    "join": (lambda arguments: show(arguments[0]), 1, 2),
    "title": (lambda arguments: show(arguments[0]), 1, 1),
    "lower": (lambda arguments: show(arguments[0]), 1, 1),
    "upper": (lambda arguments: show(arguments[0]), 1, 1),
    "truncate": (lambda arguments: show(arguments[0]), 1, 2),
}
"""For the head of a table: what changes a cell leaves the column's title as it is."""
