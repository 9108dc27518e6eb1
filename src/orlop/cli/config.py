"""`orlop config`: the configuration this machine runs with, all its sources merged."""

from __future__ import annotations

import sys

from orlop.cli.answers import strings_of
from orlop.cli.arguments import Option, UsageError
from orlop.cli.client import Client
from orlop.cli.json_text import encode
from orlop.cli.text import printable
from orlop.lib.errors import Internal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "config show|reload [--json]"
OPTIONS = (Option("json", help="as JSON; otherwise as YAML"),)
WORDS = (1, 1)

INDENT = "  "


def run(arguments: Arguments) -> int:
    client = Client()
    match arguments.words:
        case ["show"]:
            answer = client.get("/orlop/config")
        case ["reload"]:
            answer = client.post("/orlop/config/reload")
        case _:
            raise UsageError(f"{arguments.words[0]!r} is nothing that config can do")
    if not isinstance(answer, dict):
        raise Internal("the engine's answer is no object")
    if arguments.flag("json"):
        print(encode(answer))
    elif arguments.words == ["show"]:
        print("\n".join(yaml_lines(answer.get("config"))))
    else:
        print("changed: " + (", ".join(strings_of(answer, "changed")) or "nothing"))
    return _report_problems(strings_of(answer, "problems"))


def _report_problems(problems: list[str]) -> int:
    """What is wrong in the files goes to stderr, and makes the command fail."""
    for problem in problems:
        print(f"orlop: {printable(problem)}", file=sys.stderr)
    return 1 if problems else 0


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
