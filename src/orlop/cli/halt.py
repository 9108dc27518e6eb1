"""`orlop halt`, also called `halt`: stop everything and stay, for who wants to read the screen."""

from __future__ import annotations

from orlop.cli import power

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "halt [--force]"
OPTIONS = power.OPTIONS
WORDS = (0, 0)


def run(arguments: Arguments) -> int:
    return power.request("halt", arguments)
