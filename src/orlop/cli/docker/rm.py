"""`docker rm`."""

from __future__ import annotations

from orlop.cli.docker.command import Command
from orlop.cli.docker.failure import Failure
from orlop.cli.docker.flags import BOOL, MANY, Flag
from orlop.cli.docker.session import query, quote, say_failed
from orlop.lib.errors import NotFound, OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session

FLAGS = (
    Flag("force", "f", BOOL, "also what runs: it is killed"),
    Flag("link", "l", BOOL, "remove the link, not the container"),
    Flag("volumes", "v", BOOL, "also the container's anonymous volumes"),
)


def run(session: Session, values: Values) -> int:
    force = values.flag("force")
    parameters = query(v=values.flag("volumes"), link=values.flag("link"), force=force)

    failed, is_fatal = [], False
    for word in values.words:
        name = word.strip("/")
        if not name:
            raise Failure("Container name cannot be empty")
        try:
            session.delete(f"/containers/{quote(name)}{parameters}")
        except OrlopError as error:
            failed.append(error.message)
            is_fatal = is_fatal or not isinstance(error, NotFound)
        else:
            print(word)
    status = say_failed(failed)
    # With force it is no failure that there is nothing to remove.
    return status if is_fatal or not force else 0


COMMANDS = {"rm": Command(run, "[OPTIONS] CONTAINER [CONTAINER...]", FLAGS, words=(1, MANY))}
