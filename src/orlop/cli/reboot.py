"""`orlop reboot`, also called `reboot`: stop everything and start again."""

from __future__ import annotations

from orlop.cli import power

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "reboot [--force]"
OPTIONS = power.OPTIONS
WORDS = (0, 0)


def run(arguments: Arguments) -> int:
    return power.request("reboot", arguments)
