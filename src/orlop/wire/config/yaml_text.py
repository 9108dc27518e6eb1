"""JSON-like values as YAML that parses back to them, the way a person would write it. Pure."""

from __future__ import annotations

INDENT = "  "

_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
"""What YAML takes for something else than a text."""

_IN_NAMES = {ord(character): None for character in "_-./"}

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def yaml_lines(value: object, depth: int = 0) -> list[str]:
    """*value* as lines, *depth* levels deep."""
    pad = INDENT * depth
    if isinstance(value, dict) and value:
        lines = []
        for key, inner in value.items():
            if isinstance(inner, dict | list) and inner:
                lines += [f"{pad}{_scalar(key)}:", *yaml_lines(inner, depth + 1)]
            elif isinstance(inner, str) and _is_block(inner):
                lines += [f"{pad}{_scalar(key)}: {_block_head(inner)}", *_block(inner, depth + 1)]
            else:
                lines.append(f"{pad}{_scalar(key)}: {_scalar(inner)}")
        return lines
    if isinstance(value, list) and value:
        lines = []
        for inner in value:
            first, *rest = yaml_lines(inner, depth + 1)
            lines += [f"{pad}- {first.lstrip()}", *rest]
        return lines
    return [f"{pad}{_scalar(value)}"]


def _is_block(text: str) -> bool:
    """Whether *text* is lines that stand as they are: printable, and the first not indented."""
    return (
        "\n" in text
        and text[0] not in " \n"
        and all(line.replace("\t", " ").isprintable() for line in text.split("\n"))
    )


def _block_head(text: str) -> str:
    if not text.endswith("\n"):
        return "|-"
    return "|+" if text.endswith("\n\n") else "|"


def _block(text: str, depth: int) -> list[str]:
    lines = text.removesuffix("\n").split("\n")
    return [f"{INDENT * depth}{line}" if line else "" for line in lines]


def _scalar(value: object) -> str:
    """A value without members; in quotes where YAML would take it for another kind."""
    match value:
        case str():
            return value if _is_plain(value) else _quoted(value)
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case dict():
            return "{}"
        case _:
            return "[]"


def _is_plain(text: str) -> bool:
    """Whether YAML takes *text* for a text as it stands: a name, or a path."""
    letters = text.translate(_IN_NAMES)
    return (
        text.isascii()
        and letters.isalnum()
        and (text[0].isalpha() or text[0] == "/")
        and text.lower() not in _WORDS
    )


def _quoted(text: str) -> str:
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
