"""`docker logs`."""

from __future__ import annotations

from orlop.cli.docker.command import Command
from orlop.cli.docker.failure import Failure
from orlop.cli.docker.flags import BOOL, STRING, Flag
from orlop.cli.docker.moment import moment
from orlop.cli.docker.session import query, quote
from orlop.cli.relay import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session

STDOUT = 1
RAW = "application/vnd.docker.raw-stream"
FLAGS = (
    Flag("details", "", BOOL, "show attributes that the log driver keeps"),
    Flag("follow", "f", BOOL, "go on with what is written from now on"),
    Flag("since", "", STRING, "from a time, or for so long: 2026-01-31T12:00:00Z, 10m"),
    Flag("tail", "n", STRING, "the last lines, so many", "all"),
    Flag("timestamps", "t", BOOL, "show the time of each line"),
    Flag("until", "", STRING, "up to a time"),
)


def run(session: Session, values: Values) -> int:
    container = f"/containers/{quote(values.words[0])}"
    try:
        since, until = moment(values.text("since")), moment(values.text("until"), "until")
    except Failure:
        session.get(f"{container}/json")  # that it is not there is said first
        raise
    target = f"{container}/logs" + query(
        details=values.flag("details"),
        follow=values.flag("follow"),
        since=since,
        stderr=True,
        stdout=True,
        tail=values.text("tail"),
        timestamps=values.flag("timestamps"),
        until=until,
    )
    response = session.request("GET", target)
    if response.headers.get("content-type", "").startswith(RAW):
        for part in response.parts():
            write_all(STDOUT, part)
        return 0
    from orlop.cli.output import Demultiplexer

    output = Demultiplexer()
    for part in response.parts():
        output.feed(part)
    return 0


COMMANDS = {"logs": Command(run, "[OPTIONS] CONTAINER", FLAGS, words=(1, 1))}
