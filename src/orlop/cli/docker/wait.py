"""`docker wait`."""

from __future__ import annotations

from orlop.cli.docker.command import Command
from orlop.cli.docker.flags import MANY
from orlop.cli.docker.session import as_object, quote, say_failed
from orlop.lib.errors import OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session


def run(session: Session, values: Values) -> int:
    failed = []
    for name in values.words:
        try:
            answer = as_object(session.post(f"/containers/{quote(name)}/wait"))
        except OrlopError as error:
            failed.append(error.message)
            continue
        print(answer.get("StatusCode"), flush=True)
    return say_failed(failed)


COMMANDS = {"wait": Command(run, "CONTAINER [CONTAINER...]", words=(1, MANY))}
