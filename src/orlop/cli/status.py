"""`orlop status`: the machine at a glance; with --motd, how it greets whoever logs in."""

from __future__ import annotations

import os
import time

from orlop.cli import greeting
from orlop.cli.answers import Object, get_object, text_of
from orlop.cli.arguments import Option
from orlop.cli.client import Client
from orlop.cli.json_text import encode
from orlop.cli.terminal import has_colours, size
from orlop.cli.text import Style
from orlop.lib.errors import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "status [--wait SECONDS] [--json]"
OPTIONS = (
    Option("json", help="as the engine's API gives it"),
    Option("motd", help="as the greeting at login"),
    Option("wait", value="SECONDS", help="until the machine has started, at most so long"),
)
WORDS = (0, 0)

PAUSE_S = 0.5
SERVER_CERTIFICATE = "/var/lib/orlop/tls/server-cert.pem"


def run(arguments: Arguments) -> int:
    style = Style(colours=has_colours())
    width = size()[0]
    answer = wait_started(Client(), arguments.number("wait", 0))
    if os.path.exists(SERVER_CERTIFICATE):
        _warn_of_certificate(answer)
    if arguments.flag("json"):
        print(encode(answer))
    elif arguments.flag("motd"):
        print(greeting.motd(answer, style, width), end="")
    else:
        print("\n".join(greeting.facts(answer, style, width)))
    return 0


def _warn_of_certificate(status: Object) -> None:
    """Add to the warnings that the engine's certificate ends soon."""
    from orlop.cli.tls import warning

    warnings = status.get("warnings")
    text = warning()
    if text and isinstance(warnings, list):
        warnings.append(text)


def wait_started(client: Client, limit_s: float) -> Object:
    """The machine's status once it has started, or after *limit_s* as it is then.

    Raises:
        Unavailable: the engine does not answer within *limit_s* either.
    """
    deadline_s = time.monotonic() + limit_s
    while True:
        is_last = time.monotonic() + PAUSE_S > deadline_s
        try:
            answer = get_object(client, "/orlop/status")
            if is_last or text_of(answer, "phase") != "starting":
                return answer
        except Unavailable:
            if is_last:
                raise
        time.sleep(PAUSE_S)
