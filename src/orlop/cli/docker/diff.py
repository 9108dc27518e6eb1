"""`docker diff`."""

from __future__ import annotations

from orlop.cli.docker.command import Command
from orlop.cli.docker.failure import Failure
from orlop.cli.docker.session import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session

KINDS = {0: "C", 1: "A", 2: "D"}


def run(session: Session, values: Values) -> int:
    name = values.words[0]
    if not name:
        raise Failure("Container name cannot be empty")
    for change in session.get_objects(f"/containers/{quote(name)}/changes"):
        kind = change.get("Kind")
        print(KINDS.get(kind if isinstance(kind, int) else 0, "C"), change.get("Path", ""))
    return 0


COMMANDS = {"diff": Command(run, "CONTAINER", words=(1, 1))}
