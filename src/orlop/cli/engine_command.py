"""`orlop engine`: which engine the user's containers have, Orlop's own or dockerd from an image."""

from __future__ import annotations

from orlop.cli import console
from orlop.cli.answers import get_object
from orlop.cli.arguments import UsageError
from orlop.cli.client import Client
from orlop.cli.console import choose, remove, rows, shown, warn_volatile
from orlop.cli.json_text import encode
from orlop.cli.text import columns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "engine ls | switch [--file FILE] [NAME] | enable NAME | rm IMAGE"
OPTIONS = console.OPTIONS
WORDS = (0, 2)

OWN = ("orlop", "default", "engine")


def run(arguments: Arguments) -> int:
    match arguments.words:
        case [] | ["ls" | "list"]:
            answer = get_object(Client(), "/orlop/engine")
            table = columns(("ENGINE", "STATE", "WHY"), rows(answer, OWN[0]))
            print(encode(answer) if arguments.flag("json") else table)
        case ["switch" | "enable" as verb, *names]:
            name = choose("engine", verb, names, arguments, own=OWN)
            when = "from the next boot on" if verb == "enable" else "from now on"
            print(f"the user's containers have the engine {shown(name)} {when}")
            warn_volatile()
        case ["rm", image]:
            remove("engine", image, own=OWN)
        case words:
            raise UsageError(f"{' '.join(words)!r} is none of: orlop {USAGE}")
    return 0
