"""`docker save`."""

from __future__ import annotations

from orlop.cli.docker import files
from orlop.cli.docker.command import Command
from orlop.cli.docker.flags import MANY, STRING, Flag
from orlop.cli.docker.session import query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session

FLAGS = (Flag("output", "o", STRING, "write to this file instead of stdout"),)


def run(session: Session, values: Values) -> int:
    path = values.text("output")
    files.refuse_terminal(path)
    response = session.request("GET", "/images/get" + query(names=values.words))
    files.save(response.parts(), path)
    return 0


COMMANDS = {"save": Command(run, "[OPTIONS] IMAGE [IMAGE...]", FLAGS, words=(1, MANY))}
