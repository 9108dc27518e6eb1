"""The verbs of `orlop os` that change something: each reads a stream to its end."""

from __future__ import annotations

import os
import sys
import time

from orlop.cli.answers import Object, member, text_of
from orlop.cli.arguments import UsageError
from orlop.cli.json_text import decode, encode
from orlop.cli.text import parse_time
from orlop.lib.errors import Internal, InvalidArgument, NotFound
from orlop.lib.units import parse_duration_s

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orlop.cli.arguments import Arguments
    from orlop.cli.client import Client, Response

    type Act = Callable[[Client, Arguments], int]

NOTHING_TO_DO, REFUSED, FAILED = 77, 75, 1
STATUSES = {"NotModified": NOTHING_TO_DO, "Forbidden": REFUSED}
BLOCK_BYTES = 256 << 10
MAX_ROOT_BYTES = 256 << 10


def stage(client: Client, arguments: Arguments) -> int:
    """Send an image to the machine."""
    name = arguments.value("image")
    if not name:
        raise UsageError("stage which image?", hint="orlop os stage --image FILE --unsigned")
    if not arguments.flag("unsigned"):
        raise UsageError(
            "an image by itself is signed by nobody: --unsigned takes it, and marks the generation"
        )
    try:
        descriptor = 0 if name == "-" else os.open(name, os.O_RDONLY)
    except OSError as error:
        raise NotFound(f"cannot read {name}: {error.strerror}") from None
    target = "/orlop/os/stage?unsigned=1"
    response = client.request("POST", target, stream=_blocks(descriptor))
    return _follow(response, arguments, "generation {generation} is staged: orlop os apply")


def _blocks(descriptor: int) -> Iterator[bytes]:
    while data := os.read(descriptor, BLOCK_BYTES):
        yield data


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
        text = f"would be done: {text}"
    return _follow(client.request("POST", f"/orlop/os/{verb}", body), arguments, text)


def act_on(client: Client, verb: str, number: int, arguments: Arguments) -> int:
    """Have *verb* done to generation *number*."""
    if verb == "rollback":
        return roll_back(client, number, arguments)
    return _act(client, verb, {"generation": number}, arguments)


def hold(client: Client, arguments: Arguments) -> int:
    """Apply nothing, for a time or for ever."""
    body = {"reason": arguments.value("reason"), "until": _until(arguments.value("until"))}
    return _act(client, "hold", body, arguments)


def trust(client: Client, name: str, arguments: Arguments) -> int:
    """Let the root in the file *name* say whose releases are taken."""
    try:
        with open(0 if name == "-" else name, "rb") as stream:
            text = stream.read(MAX_ROOT_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound(f"cannot read {name}: {error}") from None
    response = client.request("POST", "/orlop/os/trust", {"root": text})
    done = "root {version} is trusted: {threshold} of its keys say who signs releases"
    return _follow(response, arguments, done)


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
    return _follow(client.request("POST", f"/orlop/os/{verb}", body), arguments, texts[verb])


def _follow(response: Response, arguments: Arguments, text: str) -> int:
    """Show progress, and what came of it."""
    shown = False
    for line in _lines(response):
        if "progress" in line:
            shown = _progress(line["progress"]) or shown
            continue
        if shown:
            print(file=sys.stderr)
        if isinstance(error := line.get("error"), dict):
            return _fail(error, arguments)
        result = line.get("result")
        values = result if isinstance(result, dict) else {}
        print(encode(values) if arguments.flag("json") else text.format(**values))
        if values.get("reboot") and not arguments.flag("json") and not arguments.flag("dry-run"):
            print("the machine reboots")
        return 0
    raise Internal("the machine's answer has no end")


def _lines(response: Response) -> Iterator[Object]:
    buffer = b""
    for part in response.parts():
        *whole, buffer = (buffer + part).split(b"\n")
        for line in filter(None, whole):
            value = decode(line)
            if isinstance(value, dict):
                yield value


def _progress(value: object) -> bool:
    """On a terminal only; whether something was shown."""
    done, of = member(value, "done"), member(value, "of")
    if not sys.stderr.isatty() or not isinstance(done, int) or not isinstance(of, int):
        return False
    print(f"\r{100 * done // max(of, 1):3} %", end="", file=sys.stderr, flush=True)
    return True


def _fail(error: Object, arguments: Arguments) -> int:
    if arguments.flag("json"):
        print(encode({"error": error}))
    print(f"orlop: {text_of(error, 'message')}", file=sys.stderr)
    if hint := text_of(error, "hint"):
        print(f"  (try: {hint})", file=sys.stderr)
    return STATUSES.get(text_of(error, "kind"), FAILED)


ALONE: dict[str, Act] = {
    "stage": stage,
    "apply": apply,
    "rollback": lambda client, arguments: roll_back(client, 0, arguments),
    "hold": hold,
    "cancel": _plain("cancel"),
    "unhold": _plain("unhold"),
    "gc": _plain("gc"),
}
"""The verbs that need no word."""
