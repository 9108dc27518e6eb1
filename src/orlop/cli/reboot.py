"""`orlop reboot`, also called `reboot`: stop everything and start again."""

from __future__ import annotations

import sys

from orlop.cli import power
from orlop.cli.arguments import Option, UsageError
from orlop.cli.client import Client
from orlop.lib.errors import Forbidden

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "reboot [--force | --lock]"
OPTIONS = (
    *power.OPTIONS,
    Option("lock", help="as for an update: in a window, with the lock, drained"),
)
WORDS = (0, 0)
REFUSED = 75
MORE = """\
With --lock the exit status is 75 if it may not be now; nothing is done then."""


def run(arguments: Arguments) -> int:
    if arguments.flag("lock"):
        if arguments.flag("force"):
            raise UsageError("--lock waits for containers, --force does not")
        try:
            Client().post("/orlop/reboot?lock=1")
        except Forbidden as error:
            print(f"orlop: not now: {error}", file=sys.stderr)
            return REFUSED
        return 0
    return power.request("reboot", arguments)
