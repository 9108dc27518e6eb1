"""`orlop status`: the machine at a glance; with --motd, how it greets whoever logs in."""

from __future__ import annotations

from orlop.cli import greeting
from orlop.cli.answers import get_object
from orlop.cli.arguments import Option
from orlop.cli.client import Client
from orlop.cli.json_text import encode
from orlop.cli.terminal import has_colours, size
from orlop.cli.text import Style
from orlop.lib.errors import OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "status [--json]"
OPTIONS = (
    Option("json", help="as the engine's API gives it"),
    Option("motd", help="as the greeting at login; never fails"),
)
WORDS = (0, 0)


def run(arguments: Arguments) -> int:
    style = Style(colours=has_colours())
    width = size()[0]
    if arguments.flag("motd"):
        print(_motd(style, width))
        return 0
    answer = get_object(Client(), "/orlop/status")
    if arguments.flag("json"):
        print(encode(answer))
    else:
        print("\n".join(greeting.facts(answer, style, width)))
    return 0


def _motd(style: Style, width: int) -> str:
    """The greeting; a login works also when the engine does not."""
    try:
        return greeting.motd(get_object(Client(), "/orlop/status"), style, width)
    except OrlopError as error:
        return f"{greeting.banner(style)}\n\n  {style.bad(error.message)}\n"
