"""`docker export`."""

from __future__ import annotations

from orlop.cli.docker import files
from orlop.cli.docker.command import Command
from orlop.cli.docker.flags import STRING, Flag
from orlop.cli.docker.session import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session

FLAGS = (Flag("output", "o", STRING, "write to this file instead of stdout"),)


def run(session: Session, values: Values) -> int:
    path = values.text("output")
    files.refuse_terminal(path)
    response = session.request("GET", f"/containers/{quote(values.words[0])}/export")
    files.save(response.parts(), path)
    return 0


COMMANDS = {"export": Command(run, "[OPTIONS] CONTAINER", FLAGS, words=(1, 1))}
