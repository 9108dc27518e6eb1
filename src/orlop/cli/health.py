"""`orlop health`: whether the machine, its services and the declared workloads work."""

from __future__ import annotations

import time

from orlop.cli.answers import Object, get_object, objects, text_of
from orlop.cli.arguments import Option
from orlop.cli.client import Client
from orlop.cli.json_text import encode
from orlop.cli.terminal import has_colours
from orlop.cli.text import Style, columns, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "health [--all] [--watch] [--json]"
OPTIONS = (
    Option("all", "a", help="also the checks that have come out well"),
    Option("watch", "w", help="go on, and show each change"),
    Option("json", help="as the machine's API gives it"),
)
WORDS = (0, 0)
MORE = """\
The exit status is 0 if the machine is green, 1 if it is red, 3 if it is yellow.
What is checked besides the system itself is orlop.health in the configuration."""

STATUSES = {"green": 0, "red": 1}
YELLOW = 3
PAUSE_S = 2.0
MARKS = {"ok": "+", "waiting": "~", "failed": "x"}


def run(arguments: Arguments) -> int:
    client, style = Client(), Style(colours=has_colours())
    shown: object = None
    while True:
        answer = get_object(client, "/orlop/health")
        state = [(c.get("name"), c.get("status"), c.get("code")) for c in _checks(answer)]
        if state != shown:
            if arguments.flag("json"):
                print(encode(answer), flush=True)
            else:
                print("\n".join(lines(answer, style, everything=arguments.flag("all"))), flush=True)
        shown = state
        if not arguments.flag("watch"):
            return STATUSES.get(text_of(answer, "verdict"), YELLOW)
        time.sleep(PAUSE_S)


def _checks(answer: Object) -> list[Object]:
    return objects(answer.get("checks"), "list of checks")


def lines(answer: Object, style: Style, *, everything: bool) -> list[str]:
    """The verdict, and a line for each check; those that are well only with *everything*."""
    verdict = text_of(answer, "verdict")
    colour = {"green": style.good, "red": style.bad}.get(verdict, style.warning)
    checks = _checks(answer)
    well = [check for check in checks if text_of(check, "status") == "ok"]
    shown = checks if everything else [check for check in checks if check not in well]
    found = [f"{colour(printable(verdict))}: {len(well)} of {len(checks)} checks are well"]
    rows = [
        (
            MARKS.get(text_of(check, "status"), "?"),
            printable(text_of(check, "name")),
            "required" if check.get("required") else "wanted",
            text_of(check, "kind"),
            printable(text_of(check, "text")) or "ok",
        )
        for check in shown
    ]
    return found + ([columns(("", "CHECK", "", "KIND", "FOUND"), rows)] if rows else [])
