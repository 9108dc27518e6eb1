"""`orlop top`: the processes of one container, or of each."""

from __future__ import annotations

from orlop.cli.answers import Object, get_object, get_objects, strings_of
from orlop.cli.arguments import Option
from orlop.cli.client import Client, quote
from orlop.cli.json_text import encode
from orlop.cli.ps import name_of
from orlop.cli.terminal import fitted
from orlop.cli.text import columns
from orlop.lib.errors import Conflict, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "top [--json] [NAME]"
OPTIONS = (Option("json", help="as a list of processes"),)
WORDS = (0, 1)
COMPLETES = "containers"


def run(arguments: Arguments) -> int:
    client = Client()
    names = arguments.words or sorted(map(name_of, get_objects(client, "/containers/json")))
    tables = []
    for name in names:
        try:
            tables.append((name, get_object(client, f"/containers/{quote(name)}/top")))
        except (Conflict, NotFound):
            if arguments.words:
                raise  # of all containers one may end while the others are asked
    if arguments.flag("json"):
        print(encode([entry for name, table in tables for entry in processes(name, table)]))
    elif tables:
        header = ["CONTAINER", *strings_of(tables[0][1], "Titles")]
        rows = [[name, *row] for name, table in tables for row in _rows(table)]
        print(fitted(columns(header, rows)))
    return 0


def processes(name: str, table: Object) -> list[Object]:
    """The processes in the engine's *table*, each with its titles and its container's *name*."""
    titles = strings_of(table, "Titles")
    return [{"CONTAINER": name, **dict(zip(titles, row, strict=False))} for row in _rows(table)]


def _rows(table: Object) -> list[list[str]]:
    rows = table.get("Processes")
    return [list(map(str, row)) for row in rows] if isinstance(rows, list) else []
