"""`docker rmi`."""

from __future__ import annotations

from orlop.cli.docker.command import Command
from orlop.cli.docker.flags import BOOL, MANY, Flag
from orlop.cli.docker.session import as_objects, query, quote, say_failed
from orlop.lib.errors import NotFound, OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session

FLAGS = (
    Flag("force", "f", BOOL, "also if a stopped container uses it, or it has other names"),
    Flag("no-prune", "", BOOL, "keep parents that have no name"),
)


def run(session: Session, values: Values) -> int:
    force = values.flag("force")
    parameters = query(force=force, noprune=values.flag("no-prune"))
    failed, is_fatal = [], False
    for name in values.words:
        try:
            answer = session.delete(f"/images/{quote(name)}{parameters}")
        except OrlopError as error:
            failed.append(error.message)
            is_fatal = is_fatal or not isinstance(error, NotFound)
            continue
        for step in as_objects(answer):
            for key in ("Untagged", "Deleted"):
                if step.get(key):
                    print(f"{key}: {step[key]}")
    status = say_failed(failed)
    return status if is_fatal or not force else 0


COMMANDS = {"rmi": Command(run, "[OPTIONS] IMAGE [IMAGE...]", FLAGS, words=(1, MANY))}
