"""The verbs of `orlop os` that change something: each reads a stream to its end."""

from __future__ import annotations

import time

from orlop.cli import os_releases
from orlop.cli.answers import Object
from orlop.cli.arguments import UsageError
from orlop.cli.os_answers import WOULD, blocks, follow, open_to_send
from orlop.cli.text import parse_time
from orlop.lib.errors import InvalidArgument
from orlop.lib.units import parse_duration_s

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop.cli.arguments import Arguments
    from orlop.cli.client import Client

    type Act = Callable[[Client, Arguments], int]


def stage(client: Client, arguments: Arguments) -> int:
    """Send an image to the machine."""
    name = arguments.value("image")
    if not name:
        return os_releases.stage(client, arguments)
    if not arguments.flag("unsigned"):
        raise UsageError(
            "an image by itself is signed by nobody: --unsigned takes it, and marks the generation"
        )
    descriptor = open_to_send(name)
    target = "/orlop/os/stage?unsigned=1"
    response = client.request("POST", target, stream=blocks(descriptor))
    return follow(response, arguments, "generation {generation} is staged: orlop os apply")


def apply(client: Client, arguments: Arguments) -> int:
    """Try what is staged."""
    body: Object = {
        "now": arguments.flag("now"),
        "dry_run": arguments.flag("dry-run"),
        "reboot": not arguments.flag("no-reboot"),
    }
    text = "generation {generation} is tried with the next boot"
    return _reboot(client, "apply", body, arguments, text)


def roll_back(client: Client, number: int, arguments: Arguments) -> int:
    """Go back to generation *number*, 0 for the one before."""
    body: Object = {
        "generation": number,
        "configuration": not arguments.flag("keep-configuration"),
        "dry_run": arguments.flag("dry-run"),
        "reboot": not arguments.flag("no-reboot"),
    }
    return _reboot(client, "rollback", body, arguments, "generation {generation} is what boots")


def _reboot(client: Client, verb: str, body: Object, arguments: Arguments, text: str) -> int:
    if arguments.flag("dry-run"):
        text = WOULD + text
    return follow(client.request("POST", f"/orlop/os/{verb}", body), arguments, text)


def act_on(client: Client, verb: str, number: int, arguments: Arguments) -> int:
    """Have *verb* done to generation *number*."""
    if verb == "rollback":
        return roll_back(client, number, arguments)
    return _act(client, verb, {"generation": number}, arguments)


def hold(client: Client, arguments: Arguments) -> int:
    """Apply nothing, for a time or for ever."""
    body = {"reason": arguments.value("reason"), "until": _until(arguments.value("until"))}
    return _act(client, "hold", body, arguments)


def _inhibit(client: Client, arguments: Arguments) -> int:
    from orlop.cli.os_inhibit import inhibit

    return inhibit(client, arguments)


def _until(text: str) -> float:
    if not text:
        return 0.0
    try:
        return time.time() + parse_duration_s(text)
    except InvalidArgument:
        found = parse_time(text)
    if found is None:
        raise UsageError(f"--until: {text!r} is neither a duration nor a time")
    return found


def _plain(verb: str) -> Act:
    def act(client: Client, arguments: Arguments) -> int:
        return _act(client, verb, {"dry_run": arguments.flag("dry-run")}, arguments)

    return act


def _act(client: Client, verb: str, body: Object, arguments: Arguments) -> int:
    texts = {
        "pin": "generation {generation} is kept",
        "unpin": "generation {generation} may be removed",
        "hold": "no update is applied",
        "unhold": "updates are applied again",
        "cancel": "generation {generation} stays staged",
        "gc": "removed: {generations}",
    }
    if arguments.flag("dry-run"):
        texts["gc"] = "would be removed: {generations}"
    return follow(client.request("POST", f"/orlop/os/{verb}", body), arguments, texts[verb])


ALONE: dict[str, Act] = {
    "check": os_releases.check,
    "stage": stage,
    "apply": apply,
    "rollback": lambda client, arguments: roll_back(client, 0, arguments),
    "hold": hold,
    "inhibit": _inhibit,
    "cancel": _plain("cancel"),
    "unhold": _plain("unhold"),
    "gc": _plain("gc"),
}
"""The verbs that need no word."""
