"""`orlop ps`: the system's containers."""

from __future__ import annotations

from orlop.cli.answers import get_objects, text_of
from orlop.cli.arguments import Option
from orlop.cli.client import Client
from orlop.cli.json_text import encode
from orlop.cli.terminal import fitted
from orlop.cli.text import columns, shorten

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "ps [--all] [--quiet] [--json]"
OPTIONS = (
    Option("all", "a", help="those that are not running too"),
    Option("quiet", "q", help="names only"),
    Option("json", help="as the engine's API gives it"),
)
WORDS = (0, 0)

HEADER = ("NAME", "STATUS", "IMAGE", "COMMAND", "ID")
COMMAND_WIDTH = 32
SHORT_ID = 12


def run(arguments: Arguments) -> int:
    every = "1" if arguments.flag("all") else "0"
    containers = get_objects(Client(), f"/containers/json?all={every}")
    containers.sort(key=name_of)
    if arguments.flag("json"):
        print(encode(containers))
    elif arguments.flag("quiet"):
        print("\n".join(map(name_of, containers)), end="\n" if containers else "")
    else:
        print(fitted(columns(HEADER, map(row, containers))))
    return 0


def row(container: dict[str, object]) -> tuple[str, ...]:
    """A container as the cells of its line."""
    return (
        name_of(container),
        text_of(container, "Status") or text_of(container, "State"),
        text_of(container, "Image"),
        shorten(text_of(container, "Command"), COMMAND_WIDTH),
        text_of(container, "Id")[:SHORT_ID],
    )


def name_of(container: dict[str, object]) -> str:
    """The container's own name: Docker gives all of them, each with a slash before it."""
    names = container.get("Names")
    if isinstance(names, list) and names:
        return str(names[0]).lstrip("/")
    return text_of(container, "Id")[:SHORT_ID]
