"""What the machine answers to the verbs of `orlop os` that do something: a stream to its end."""

from __future__ import annotations

import os
import sys

from orlop.cli.answers import Object, member, text_of
from orlop.cli.json_text import decode, encode
from orlop.lib.errors import Internal, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orlop.cli.arguments import Arguments
    from orlop.cli.client import Response

NOTHING_TO_DO, REFUSED, FAILED = 77, 75, 1
STATUSES = {"NotModified": NOTHING_TO_DO, "Forbidden": REFUSED}
BLOCK_BYTES = 256 << 10
IN_PLACE = "generation {{generation}}, without a reboot: {}"
"""What is replaced while the machine goes on."""

WOULD = "would be done: "
"""Before what `--dry-run` finds."""


def open_to_send(name: str) -> int:
    """The file *name*, or standard input for `-`.

    Raises:
        NotFound: it cannot be read, or is a directory.
    """
    try:
        descriptor = 0 if name == "-" else os.open(name, os.O_RDONLY)
        if os.path.isdir(descriptor):
            raise NotFound(
                f"{name} is a directory",
                hint="a directory of the machine by its whole path: /var/lib/orlop/releases",
            )
    except OSError as error:
        raise NotFound(f"cannot read {name}: {error.strerror}") from None
    return descriptor


def blocks(descriptor: int) -> Iterator[bytes]:
    """A file as it is sent."""
    while data := os.read(descriptor, BLOCK_BYTES):
        yield data


def follow(
    response: Response,
    arguments: Arguments,
    text: str,
    show: Callable[[Object], int] | None = None,
) -> int:
    """Show progress, and what came of it: by *text* or *show*, whose status it is then."""
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
        if show is not None:
            return show(values)
        text = _text(values, text, arguments)
        print(encode(values) if arguments.flag("json") else text.format(**_shown(values)))
        if values.get("reboot") and not arguments.flag("json") and not arguments.flag("dry-run"):
            print("the machine reboots")
        return 0
    raise Internal("the machine's answer has no end")


def _text(values: Object, text: str, arguments: Arguments) -> str:
    """*text*, or what says better what came of it."""
    if "fetch" in values:
        return "nothing is fetched any more; what has come is kept"
    if values.get("staged"):
        return "release {version} is staged already, as generation {staged}: orlop os apply"
    if isinstance(services := values.get("services"), list):
        would = WOULD if arguments.flag("dry-run") else ""
        return would + IN_PLACE.format(", ".join(map(str, services)))
    if "cancelled" in values:  # by a hold
        text += "; generation {cancelled} is not tried with the next boot, and stays staged"
    return text


def _shown(values: Object) -> Object:
    """*values* for people: no list has brackets."""
    return {
        key: ", ".join(map(str, value)) if isinstance(value, list) else value
        for key, value in values.items()
    }


def _lines(response: Response) -> Iterator[Object]:
    buffer = b""
    for part in response.parts():
        *whole, buffer = (buffer + part).split(b"\n")
        for line in filter(None, whole):
            value = decode(line)
            if isinstance(value, dict):
                yield value


def _progress(value: object) -> bool:
    """On a terminal only; whether something was shown that is no line yet."""
    if isinstance(waits := member(value, "waits"), str):
        print(f"no answer from {waits} yet", file=sys.stderr, flush=True)
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
