"""`orlop cloud`: which data source has configured this machine, and what it said."""

from __future__ import annotations

from orlop.cli.answers import Object, get_object, objects, strings_of, text_of
from orlop.cli.arguments import Option, UsageError
from orlop.cli.client import Client
from orlop.cli.json_text import encode
from orlop.cli.text import printable
from orlop.wire.config.yaml_text import yaml_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "cloud [status|show] [--json]"
OPTIONS = (Option("json", help="as the engine's API gives it"),)
WORDS = (0, 1)
VERBS = {
    "status": "the source, and what was refused of what it said",
    "show": "what its metadata are",
}


def run(arguments: Arguments) -> int:
    match arguments.words:
        case [] | ["status"]:
            lines = status_lines
        case ["show"]:
            lines = metadata_lines
        case _:
            raise UsageError(f"{arguments.words[0]!r} is nothing that cloud can do")
    answer = get_object(Client(), "/orlop/cloud")
    if arguments.flag("json"):
        print(encode(answer))
    else:
        print("\n".join(map(printable, lines(answer))))
    return 0


def status_lines(answer: Object) -> list[str]:
    """The source, and what is wrong with what it said."""
    asked = ", ".join(strings_of(answer, "asked"))
    source = text_of(answer, "source")
    if not source:
        return [f"no data source has answered yet; asking {asked}" if asked else "no data source"]
    took = answer.get("took_ms")
    time = f", after {took} ms" if isinstance(took, int) and took else ""
    lines = [f"{source}, from {text_of(answer, 'from')}{time}"]
    lines.append(f"instance {text_of(answer, 'instance_id')}")
    for part in objects(answer.get("parts") or [], "parts"):
        kind, name = text_of(part, "kind"), text_of(part, "name")
        lines.append(f"{name}: {kind}, {part.get('bytes')} bytes")
    return [*lines, *(f"warning: {text}" for text in strings_of(answer, "warnings"))]


def metadata_lines(answer: Object) -> list[str]:
    """What the metadata say, as YAML."""
    keys = ("source", "instance_id", "hostname", "ssh_keys", "network")
    return yaml_lines({key: answer[key] for key in keys if answer.get(key)})
