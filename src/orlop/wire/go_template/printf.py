"""Go's `printf` for plain values: verbs, flags, widths and precisions."""

from __future__ import annotations

from orlop.wire.go_template.errors import TemplateError
from orlop.wire.go_template.values import json_text, quote, show

MAX_WIDTH = 1000
"""Of a field: wider than any terminal, and no way to fill the memory."""

_FLAGS = "+-# 0"
_BASES = {"x": "x", "X": "X", "o": "o", "b": "b"}


def printf(pattern: str, arguments: list[object]) -> str:
    """*pattern* with its verbs replaced by *arguments*.

    Raises:
        TemplateError: a width or precision above `MAX_WIDTH`.
    """
    out: list[str] = []
    rest = list(arguments)
    position = 0
    while (percent := pattern.find("%", position)) >= 0:
        out.append(pattern[position:percent])
        flags, width, precision, position = _modifiers(pattern, percent + 1, rest)
        if position >= len(pattern):
            out.append("%!(NOVERB)")
            break
        verb = pattern[position]
        position += 1
        if verb == "%":
            out.append("%")
        elif not rest:
            out.append(f"%!{verb}(MISSING)")
        else:
            out.append(_padded(_verb(verb, rest.pop(0), flags, precision), flags, width))
    else:
        out.append(pattern[position:])
    if rest:
        extra = ", ".join(f"{_type(value)}={show(value)}" for value in rest)
        out.append(f"%!(EXTRA {extra})")
    return "".join(out)


def _modifiers(pattern: str, position: int, rest: list[object]) -> tuple[str, int, int | None, int]:
    start = position
    while position < len(pattern) and pattern[position] in _FLAGS:
        position += 1
    flags = pattern[start:position]
    width, position = _number(pattern, position, rest)
    if width is not None and width < 0:
        flags, width = flags + "-", -width
    precision = None
    if pattern[position : position + 1] == ".":
        precision, position = _number(pattern, position + 1, rest)
        precision = precision or 0
    return flags, width or 0, precision, position


def _number(pattern: str, position: int, rest: list[object]) -> tuple[int | None, int]:
    if pattern[position : position + 1] == "*":
        value = rest.pop(0) if rest else None
        number, end = value if isinstance(value, int) else None, position + 1
    else:
        end = position
        while end < len(pattern) and pattern[end] in "0123456789":
            end += 1
        number = int(pattern[position:end][:9]) if end > position else None
    if number is not None and abs(number) > MAX_WIDTH:
        raise TemplateError(f"template: a width of {number} in printf is too much")
    return number, end


def _padded(text: str, flags: str, width: int) -> str:
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and text[:1] in "+-":
        return text[0] + text[1:].rjust(width - 1, "0")
    return text.rjust(width, "0" if "0" in flags else " ")


def _verb(verb: str, value: object, flags: str, precision: int | None) -> str:
    if isinstance(value, list) and verb not in "vT":
        return "[" + " ".join(_verb(verb, each, flags, precision) for each in value) + "]"
    if verb == "v" or (verb == "s" and not isinstance(value, int | float)):
        return _text(value, flags, precision)
    if verb == "T":
        return _type(value)
    if isinstance(value, bool):
        return show(value) if verb == "t" else _bad(verb, value)
    if isinstance(value, int):
        return _integer(verb, value, flags)
    if isinstance(value, float) and verb in "eEfFgG":
        sign = "+" if "+" in flags else ""
        return f"{value:{sign}.{6 if precision is None else precision}{verb}}"
    if isinstance(value, str) and verb in "qxX":
        code = value.encode().hex()
        return {"q": quote(value), "x": code, "X": code.upper()}[verb]
    return _bad(verb, value)


def _text(value: object, flags: str, precision: int | None) -> str:
    if "#" in flags:
        return quote(value) if isinstance(value, str) else json_text(value)
    text = show(value, plus="+" in flags)
    return text if precision is None or not isinstance(value, str) else text[:precision]


def _integer(verb: str, value: int, flags: str) -> str:
    if verb == "c":
        return chr(value) if 0 <= value < 0x110000 else "\ufffd"
    if verb == "q":
        return f"'{chr(value)}'" if 0 <= value < 0x110000 else "'\ufffd'"
    if verb == "U":
        return f"U+{value:04X}"
    sign = "+" if "+" in flags else " " if " " in flags else ""
    if verb == "d":
        return f"{value:{sign}d}"
    if verb in _BASES:
        return f"{value:{sign}{'#' if '#' in flags else ''}{_BASES[verb]}}"
    return _bad(verb, value)


def _bad(verb: str, value: object) -> str:
    return f"%!{verb}({_type(value)}={show(value)})" if value is not None else f"%!{verb}(<nil>)"


def _type(value: object) -> str:
    names = ((bool, "bool"), (int, "int"), (float, "float64"), (str, "string"), (list, "[]string"))
    for kind, name in names:
        if isinstance(value, kind):
            return name
    return "map[string]interface {}" if isinstance(value, dict) else "<nil>"
