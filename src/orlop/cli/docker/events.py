"""`docker events`."""

from __future__ import annotations

import sys
import time

from orlop.cli.docker.command import Command
from orlop.cli.docker.failure import Failure
from orlop.cli.docker.flags import FILTER, STRING, Flag
from orlop.cli.docker.listing import filters_query
from orlop.cli.docker.moment import NANOSECONDS, moment
from orlop.cli.docker.session import lines_of, query
from orlop.cli.json_text import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Object, Session

FLAGS = (
    Flag("filter", "f", FILTER, "only those that match: NAME=VALUE"),
    Flag("format", "", STRING, "json, or a Go template"),
    Flag("since", "", STRING, "from a time, or for so long"),
    Flag("until", "", STRING, "up to a time, then end"),
)


def run(session: Session, values: Values) -> int:
    form = values.text("format")
    show: Callable[[Object], str] = pretty
    if form == "json":
        form = "{{json .}}"
    if form:
        show = _by_template(form)
    target = "/events" + query(
        filters=filters_query(values.many("filter")),
        since=moment(values.text("since"), ""),
        until=moment(values.text("until"), ""),
    )
    for line in lines_of(session.request("GET", target)):
        event = decode(line)
        if isinstance(event, dict):
            sys.stdout.write(show(event) + "\n")
            sys.stdout.flush()
    return 0


def _by_template(form: str) -> Callable[[Object], str]:
    from orlop.wire.go_template.errors import TemplateError
    from orlop.wire.go_template.evaluate import Template
    from orlop.wire.go_template.values import typed

    try:
        template = Template(form.replace("\\t", "\t").replace("\\n", "\n"))
    except TemplateError as error:
        raise Failure(f"Error parsing format: {error}", 64) from None
    return lambda event: template.execute(typed(event))


def pretty(event: Object) -> str:
    """`TIME TYPE ACTION ID (NAME=VALUE, ...)`."""
    nanoseconds = event.get("timeNano") or 0
    assert isinstance(nanoseconds, int)
    actor = event.get("Actor")
    actor = actor if isinstance(actor, dict) else {}
    text = (
        f"{nano_time(nanoseconds)} {event.get('Type')} {event.get('Action')} {actor.get('ID', '')}"
    )
    attributes = actor.get("Attributes") or {}
    if attributes:
        text += f" ({', '.join(f'{name}={attributes[name]}' for name in sorted(attributes))})"
    return text


def nano_time(nanoseconds: int) -> str:
    """A local time with nine digits of a second, RFC 3339."""
    seconds, fraction = divmod(nanoseconds, NANOSECONDS)
    moment_ = time.localtime(seconds)
    zone = time.strftime("%z", moment_)
    shown = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    return time.strftime("%Y-%m-%dT%H:%M:%S", moment_) + f".{fraction:09d}{shown}"


def go_time(text: str) -> str:
    """An RFC 3339 time as Go prints one: `2026-01-31 12:00:00.5 +0000 UTC`."""
    date, _, clock = text.partition("T")
    if clock.endswith("Z"):
        return f"{date} {clock[:-1]} +0000 UTC"
    zone = clock[-6:].replace(":", "")
    return f"{date} {clock[:-6]} {zone} {zone}"


COMMANDS = {"events": Command(run, "[OPTIONS]", FLAGS)}
