"""`orlop config show`: the configuration this machine runs with, all its sources merged."""

from __future__ import annotations

from orlop.cli.answers import get_object
from orlop.cli.arguments import Option, UsageError
from orlop.cli.client import Client
from orlop.cli.json_text import encode
from orlop.cli.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "config show [--json]"
OPTIONS = (Option("json", help="as JSON; otherwise as YAML"),)
WORDS = (1, 1)

INDENT = "  "


def run(arguments: Arguments) -> int:
    if arguments.words != ["show"]:
        raise UsageError(f"{arguments.words[0]!r} is nothing that config can do")
    value = get_object(Client(), "/orlop/config")
    print(encode(value) if arguments.flag("json") else "\n".join(yaml_lines(value)))
    return 0


def yaml_lines(value: object, depth: int = 0) -> list[str]:
    """*value*, which came from JSON, as lines of YAML that parse back to it."""
    pad = INDENT * depth
    if isinstance(value, dict) and value:
        lines = []
        for key, inner in value.items():
            if isinstance(inner, dict | list) and inner:
                lines += [f"{pad}{_scalar(key)}:", *yaml_lines(inner, depth + 1)]
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


def _scalar(value: object) -> str:
    """A value without members; in the quotes of JSON where YAML would take it for another kind."""
    if isinstance(value, str):
        plain = value.replace("_", "").replace("-", "").replace(".", "")
        if (
            plain.isalpha()
            and plain.isascii()
            and value[0].isalpha()
            and value.lower() not in _WORDS
        ):
            return value
        import json

        return json.dumps(value, ensure_ascii=value != printable(value))
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return (
        str(value)
        if isinstance(value, int | float)
        else ("{}" if isinstance(value, dict) else "[]")
    )


_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
"""What YAML takes for something else than a text."""
