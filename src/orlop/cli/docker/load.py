"""`docker load`."""

from __future__ import annotations

import os

from orlop.cli.docker import files, progress
from orlop.cli.docker.command import Command
from orlop.cli.docker.failure import Failure
from orlop.cli.docker.flags import BOOL, STRING, Flag
from orlop.cli.relay import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session

FLAGS = (
    Flag("input", "i", STRING, "read this file instead of stdin"),
    Flag("quiet", "q", BOOL, "only the names of what was loaded"),
)


def run(session: Session, values: Values) -> int:
    path = values.text("input")
    if not path and os.isatty(0):
        raise Failure("requested load from stdin, but stdin is empty")
    source = files.open_file(path) if path else 0
    quiet = values.flag("quiet") or not os.isatty(1)
    response = session.request(
        "POST",
        f"/images/load?quiet={int(quiet)}",
        headers={"Content-Type": "application/x-tar"},
        stream=files.blocks_of(source),
    )
    if response.headers.get("content-type", "").startswith("application/json"):
        progress.show(response)
        return 0
    for part in response.parts():
        write_all(1, part)
    return 0


COMMANDS = {"load": Command(run, "[OPTIONS]", FLAGS)}
