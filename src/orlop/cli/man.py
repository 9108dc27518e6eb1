"""`orlop man`: the manual page of a command, on a machine that has no man(1)."""

from __future__ import annotations

from orlop.cli import manual
from orlop.cli.arguments import Option, UsageError
from orlop.cli.commands import COMMANDS, find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "man [--roff] [COMMAND]"
OPTIONS = (Option("roff", help="as man(1) reads it"),)
WORDS = (0, 1)
COMPLETES = "commands"


def run(arguments: Arguments) -> int:
    page = manual.overview()
    if arguments.words:
        name = arguments.words[0].removeprefix("orlop-")
        command = find(name)
        if command is None:
            near = [known for known in COMMANDS if known[:2] == name[:2]]
            raise UsageError(
                f"there is no command {name!r}", hint=f"orlop man {near[0] if near else ''}".strip()
            )
        page = manual.page_of(name, command)
    print(manual.roff(page).rstrip("\n") if arguments.flag("roff") else manual.plain(page))
    return 0
