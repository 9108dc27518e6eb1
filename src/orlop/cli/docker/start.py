"""`docker start`."""

from __future__ import annotations

import sys

from orlop.cli.docker import streams
from orlop.cli.docker.command import Command
from orlop.cli.docker.failure import Failure
from orlop.cli.docker.flags import BOOL, MANY, STRING, Flag
from orlop.cli.docker.session import as_object, query, quote
from orlop.lib.errors import OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session

FLAGS = (
    Flag("attach", "a", BOOL, "show its output and pass signals on"),
    Flag("checkpoint", "", STRING),
    Flag("checkpoint-dir", "", STRING),
    Flag("detach-keys", "", STRING, "keys that detach from the terminal (ctrl-p,ctrl-q)"),
    Flag("interactive", "i", BOOL, "pass on what is typed"),
    Flag("sig-proxy", "", BOOL, "", "true"),
)


def run(session: Session, values: Values) -> int:
    if values.flag("attach") or values.flag("interactive"):
        return _attached(session, values)
    failed = []
    for name in values.words:
        try:
            session.post(f"/containers/{quote(name)}/start")
        except OrlopError as error:
            failed.append(name)
            print(error.message, file=sys.stderr)
        else:
            print(name, flush=True)
    if failed:
        raise Failure(f"Error: failed to start containers: {', '.join(failed)}")
    return 0


def _attached(session: Session, values: Values) -> int:
    if len(values.words) > 1:
        raise Failure("you cannot start and attach multiple containers at once")
    container = session.get_object(f"/containers/{quote(values.words[0])}/json")
    config = as_object(container.get("Config"))
    host = as_object(container.get("HostConfig"))
    identifier = str(container.get("Id"))
    stdin = values.flag("interactive") and bool(config.get("OpenStdin"))
    if values.flag("attach") and not config.get("Tty"):
        streams.pass_signals(session, identifier)
    conversation = streams.attach(
        session,
        identifier,
        config,
        stdin=stdin,
        stdout=True,
        stderr=True,
        detach_keys=values.text("detach-keys"),
    )
    condition = "removed" if host.get("AutoRemove") else "next-exit"
    waiting = session.request("POST", f"/containers/{identifier}/wait{query(condition=condition)}")
    session.post(f"/containers/{identifier}/start")
    if config.get("Tty"):
        streams.follow_size(session, f"/containers/{identifier}")
    if not conversation.run():
        return 0
    return streams.exit_status(waiting, session)


COMMANDS = {"start": Command(run, "[OPTIONS] CONTAINER [CONTAINER...]", FLAGS, words=(1, MANY))}
