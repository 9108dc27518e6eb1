"""JSON in the bodies of Docker API requests, refused in the words of Go's decoder.

Clients and their tests look at these words. What is wrong inside an object is `fields`' business.
Source: encoding/json's scanner and moby's api/server/httputils.
"""

from __future__ import annotations

import json
from typing import NoReturn

from orlop.lib.errors import InvalidArgument

JSON_TYPE = "application/json"

_BECAUSE = {
    "Expecting value": "looking for beginning of value",
    "Expecting property name enclosed in double quotes": (
        "looking for beginning of object key string"
    ),
    "Illegal trailing comma before end of object": "looking for beginning of object key string",
    "Illegal trailing comma before end of array": "looking for beginning of value",
    "Expecting ':' delimiter": "after object key",
    "Invalid control character at": "in string literal",
    "Invalid \\escape": "in string escape code",
    "Invalid \\uXXXX escape": "in \\u hexadecimal character escape",
}


def check_type(content_type: str) -> None:
    """Refuse a body that is not said to be JSON.

    Raises:
        InvalidArgument: in dockerd's words.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if not kind:
        raise InvalidArgument(
            f"malformed Content-Type header ({content_type}): mime: no media type"
        )
    if kind != JSON_TYPE:
        raise InvalidArgument(
            f"unsupported Content-Type header ({content_type[:200]}): must be '{JSON_TYPE}'"
        )


def parse_json(data: bytes) -> dict[str, object]:
    """The object in *data*; null is an empty one.

    Raises:
        InvalidArgument: it is none, or more follows.
    """
    try:
        text = data.decode(errors="replace")
        value, end = _DECODER.raw_decode(text, _skip_space(text, 0))
    except json.JSONDecodeError as error:
        raise InvalidArgument(f"invalid JSON: {_reason(error)}") from error
    except RecursionError as error:
        raise InvalidArgument("invalid JSON: exceeded max depth") from error
    except ValueError as error:
        raise InvalidArgument("invalid JSON: a number with too many digits") from error
    if _skip_space(text, end) != len(text):
        raise InvalidArgument("unexpected content after JSON")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidArgument("invalid JSON: an object expected")
    return value


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def _no_constant(name: str) -> NoReturn:
    """Python's decoder takes NaN and Infinity, which are not JSON."""
    raise InvalidArgument(
        f"invalid JSON: invalid character '{name.strip('-')[0]}' looking for beginning of value"
    )


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _reason(error: json.JSONDecodeError) -> str:
    text, position = error.doc, error.pos
    if error.msg.startswith("Illegal trailing comma"):
        position = _skip_space(text, position + 1)
    if error.msg.startswith("Unterminated string") or position >= len(text):
        return "unexpected EOF"
    where = _BECAUSE.get(error.msg)
    if where is None:  # a comma is missing
        inside = _opened(text, position)
        where = "after array element" if inside == "[" else "after object key:value pair"
    character = text[position + 1] if error.msg == "Invalid \\escape" else text[position]
    return f"invalid character {_quoted(character)} {where}"


def _opened(text: str, position: int) -> str:
    """The bracket that is open at *position*, up to where *text* is right."""
    open_brackets: list[str] = []
    in_string = escaped = False
    for character in text[:position]:
        if in_string:
            in_string = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            in_string = True
        elif character in "[{":
            open_brackets.append(character)
        elif character in "]}":
            open_brackets.pop()
    return open_brackets[-1] if open_brackets else "{"


def _quoted(character: str) -> str:
    """As Go writes a character."""
    if character == "'":
        return r"'\''"
    if character == '"':
        return "'\"'"
    return "'" + json.dumps(character, ensure_ascii=False)[1:-1] + "'"
