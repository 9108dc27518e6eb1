"""`orlop system`: what concerns the engine itself."""

from __future__ import annotations

from orlop.cli.arguments import Option, UsageError
from orlop.cli.client import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "system reexec"
OPTIONS: tuple[Option, ...] = ()
WORDS = (1, 1)
VERBS = {"reexec": "PID 1 replaces itself with the program on disk; containers run on"}


def run(arguments: Arguments) -> int:
    if arguments.words != ["reexec"]:
        raise UsageError(f"{arguments.words[0]!r} is nothing the system can do")
    Client().post("/orlop/reexec")
    return 0
