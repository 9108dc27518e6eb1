"""The engine's JSON, indented without being decoded: numbers and escapes stay as they were sent."""

from __future__ import annotations

INDENT = "    "


def indent(text: str) -> str:
    """The JSON value *text*, a member a line, four spaces a level; empty ones on one line."""
    out: list[str] = []
    depth = 0
    position = 0
    length = len(text)
    while position < length:
        char = text[position]
        if char == '"':
            end = _string_end(text, position)
            out.append(text[position:end])
            position = end
            continue
        position += 1
        if char in " \t\r\n":
            continue
        if char in "{[":
            following = _next(text, position)
            if following < length and text[following] in "}]":
                out.append(char + text[following])
                position = following + 1
                continue
            depth += 1
            out.append(f"{char}\n{INDENT * depth}")
        elif char in "}]":
            depth -= 1
            out.append(f"\n{INDENT * depth}{char}")
        elif char == ",":
            out.append(f",\n{INDENT * depth}")
        else:
            out.append(": " if char == ":" else char)
    return "".join(out)


def _string_end(text: str, start: int) -> int:
    """The position after the string that begins at *start*."""
    position = start + 1
    while True:
        position = text.find('"', position)
        if position < 0:
            return len(text)
        backslashes = 0
        while text[position - 1 - backslashes] == "\\":
            backslashes += 1
        position += 1
        if backslashes % 2 == 0:
            return position


def _next(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position
