"""`orlop shutdown`, also called `shutdown`: the words of other systems for how a machine ends."""

from __future__ import annotations

from orlop.cli import power
from orlop.cli.arguments import Option, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "shutdown [-h|-P|-r|-H] [--force] [now]"
OPTIONS = (
    Option("poweroff", "P", help="switch off, which is what happens without an option"),
    Option("off", "h", help="the same"),
    Option("reboot", "r", help="start again"),
    Option("halt", "H", help="stay, for who wants to read the screen"),
    *power.OPTIONS,
)
WORDS = (0, 1)
NOW = ("now", "+0")


def run(arguments: Arguments) -> int:
    verbs = [verb for verb in ("reboot", "halt") if arguments.flag(verb)]
    if arguments.flag("poweroff") or arguments.flag("off"):
        verbs.append("poweroff")
    if len(verbs) > 1:
        raise UsageError(f"{' and '.join(verbs)} exclude each other")
    for word in arguments.words:
        if word not in NOW:
            raise UsageError(f"{word!r} is not now: a time cannot be set")
    return power.request(verbs[0] if verbs else "poweroff", arguments)
