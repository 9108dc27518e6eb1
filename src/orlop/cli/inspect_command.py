"""`orlop inspect`: everything the engine knows about containers."""

from __future__ import annotations

from orlop.cli.answers import get_object
from orlop.cli.arguments import Option
from orlop.cli.client import Client, quote
from orlop.cli.commands import MANY
from orlop.cli.json_text import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "inspect NAME..."
OPTIONS = (Option("json", help="what it prints anyway"),)
WORDS = (1, MANY)
COMPLETES = "containers"


def run(arguments: Arguments) -> int:
    client = Client()
    print(
        encode([get_object(client, f"/containers/{quote(name)}/json") for name in arguments.words])
    )
    return 0
