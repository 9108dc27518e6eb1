"""`orlop logs`: what containers have written, or the messages of the whole system."""

from __future__ import annotations

from orlop.cli.arguments import Option, UsageError
from orlop.cli.client import Client, quote
from orlop.cli.commands import MANY
from orlop.cli.output import Demultiplexer
from orlop.cli.relay import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "logs [OPTION...] [NAME...]"
OPTIONS = (
    Option("follow", "f", help="go on with what is written from now on"),
    Option("tail", "n", value="N", help="the last N lines; 0 for none of them"),
    Option("since", value="TIME", help="from a time, or for so long: 2026-01-31T12:00:00Z, 10m"),
    Option("until", value="TIME", help="up to a time, or to so long ago"),
    Option("boot", "b", help="since the machine was started"),
    Option("grep", "g", value="PATTERN", help="lines that match a regular expression"),
    Option(
        "priority", "p", value="LEVEL", help="messages as grave or graver: err, warning, 0 to 7"
    ),
    Option("timestamps", "t", help="each line of a container with its time"),
    Option("raw", help="lines of the system's log as they are stored: RFC 5424"),
    Option("json", help="an object for each line"),
)
WORDS = (0, MANY)
COMPLETES = "containers"
MORE = """\
With names: what these containers have written to their outputs; of several,
in the order of time. Without: the messages of the whole system, kernel and all
services, of which the last 200 are shown unless asked. --priority chooses from
those, with names too: outputs have no priority.

The members of --json are time, container, and message; of messages also level
(0 to 7), host, program, process; of outputs also stream."""

STDOUT = 1
SYSTEM_TAIL = 200
"""How much of the system's log is shown unless asked: some screens of it."""

_LINEWISE = ("until", "grep", "json", "boot")


def run(arguments: Arguments) -> int:
    if not arguments.words or arguments.flag("priority"):
        return _system(arguments)
    if arguments.flag("raw"):
        raise UsageError("--raw is for the system's log", hint="orlop logs --raw")
    if len(arguments.words) > 1 or any(map(arguments.flag, _LINEWISE)):
        from orlop.cli import container_logs

        return container_logs.show(arguments)
    response = Client().request("GET", target(arguments))
    if response.headers.get("content-type") == "application/vnd.docker.raw-stream":
        for part in response.parts():
            write_all(STDOUT, part)
        return 0
    output = Demultiplexer()
    for part in response.parts():
        output.feed(part)
    return 0


def _system(arguments: Arguments) -> int:
    from orlop.cli import messages
    from orlop.cli.log_choice import choice_of

    choice = choice_of(arguments, with_names=True)
    is_bounded = choice.since_s is None and choice.until_s is None
    messages.show(
        tail=arguments.number("tail", SYSTEM_TAIL if is_bounded else MANY),
        follow=arguments.flag("follow"),
        choice=choice,
        form="json" if arguments.flag("json") else "raw" if arguments.flag("raw") else "",
    )
    return 0


def target(arguments: Arguments) -> str:
    """Where the API has the lines that are asked for."""
    since_s = None
    if arguments.flag("since"):
        from orlop.cli.moment import parse_moment

        since_s = parse_moment(arguments.value("since"))
    return target_of(
        arguments.words[0],
        tail=arguments.number("tail", 0) if arguments.flag("tail") else None,
        follow=arguments.flag("follow"),
        timestamps=arguments.flag("timestamps"),
        since_s=since_s,
    )


def target_of(
    name: str, *, tail: int | None, follow: bool, timestamps: bool, since_s: float | None
) -> str:
    """The path of container *name*'s output; *tail* None for all of it."""
    query = ["stdout=1&stderr=1", "tail=all" if tail is None else f"tail={tail}"]
    query += ["follow=1"] if follow else []
    query += ["timestamps=1"] if timestamps else []
    query += [f"since={since_s:.3f}"] if since_s is not None else []
    return f"/containers/{quote(name)}/logs?{'&'.join(query)}"
