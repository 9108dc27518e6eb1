"""`orlop logs`: what a container has written, or the messages of the whole system."""

from __future__ import annotations

from orlop.cli.arguments import Option
from orlop.cli.client import Client
from orlop.cli.output import Demultiplexer
from orlop.cli.relay import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "logs [--follow] [--tail N] [--since TIME] [--raw] [NAME]"
OPTIONS = (
    Option("follow", "f", help="go on with what is written from now on"),
    Option("tail", "n", value="N", help="the last N lines; 0 for none of them"),
    Option("since", value="TIME", help="from a time, or for so long: 2026-01-31T12:00:00Z, 10m"),
    Option("timestamps", "t", help="each line of a container with its time"),
    Option("raw", help="lines of the system's log as they are stored: RFC 5424"),
)
WORDS = (0, 1)

STDOUT = 1
SYSTEM_TAIL = 200
"""How much of the system's log is shown unless asked: some screens of it."""


def run(arguments: Arguments) -> int:
    if not arguments.words:
        from orlop.cli import messages

        messages.show(
            tail=arguments.number("tail", SYSTEM_TAIL),
            follow=arguments.flag("follow"),
            since_s=_since(arguments),
            raw=arguments.flag("raw"),
        )
        return 0
    response = Client().request("GET", target(arguments))
    if response.headers.get("content-type") == "application/vnd.docker.raw-stream":
        for part in response.parts():
            write_all(STDOUT, part)
        return 0
    output = Demultiplexer()
    for part in response.parts():
        output.feed(part)
    return 0


def target(arguments: Arguments) -> str:
    """Where the API has the lines that are asked for."""
    since_s = _since(arguments)
    query = [
        "stdout=1&stderr=1",
        f"tail={arguments.number('tail', 0)}" if arguments.flag("tail") else "tail=all",
    ]
    query += ["follow=1"] if arguments.flag("follow") else []
    query += ["timestamps=1"] if arguments.flag("timestamps") else []
    query += [f"since={since_s:.3f}"] if since_s is not None else []
    return f"/containers/{arguments.words[0]}/logs?{'&'.join(query)}"


def _since(arguments: Arguments) -> float | None:
    if not arguments.flag("since"):
        return None
    from orlop.cli.moment import parse_moment

    return parse_moment(arguments.value("since"))
