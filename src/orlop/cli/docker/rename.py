"""`docker rename`."""

from __future__ import annotations

from orlop.cli.docker.command import Command
from orlop.cli.docker.failure import Failure
from orlop.cli.docker.session import query, quote
from orlop.lib.errors import OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session


def run(session: Session, values: Values) -> int:
    old, new = (word.strip() for word in values.words)
    if not old or not new:
        raise Failure("Error: Neither old nor new names may be empty")
    try:
        session.post(f"/containers/{quote(old)}/rename{query(name=new)}")
    except OrlopError as error:
        raise Failure(f"{error.message}\nError: failed to rename container named {old}") from None
    return 0


COMMANDS = {"rename": Command(run, "CONTAINER NEW_NAME", words=(2, 2))}
