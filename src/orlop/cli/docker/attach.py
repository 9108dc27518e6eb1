"""`docker attach`."""

from __future__ import annotations

import os
import sys

from orlop.cli.docker import streams
from orlop.cli.docker.command import Command
from orlop.cli.docker.failure import Failure
from orlop.cli.docker.flags import BOOL, STRING, Flag
from orlop.cli.docker.session import as_object, query, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Object, Session

FLAGS = (
    Flag("detach-keys", "", STRING, "keys that detach from the terminal (ctrl-p,ctrl-q)"),
    Flag("no-stdin", "", BOOL, "do not pass on what is typed"),
    Flag("sig-proxy", "", BOOL, "pass signals on to the process (true)", "true"),
)


def run(session: Session, values: Values) -> int:
    name = values.words[0]
    container = session.get_object(f"/containers/{quote(name)}/json")
    check_state(as_object(container.get("State")))
    config = as_object(container.get("Config"))
    stdin = bool(config.get("OpenStdin")) and not values.flag("no-stdin")
    streams.check_terminal(stdin=stdin, tty=bool(config.get("Tty")))
    identifier = str(container.get("Id"))
    waiting = session.request("POST", f"/containers/{identifier}/wait")
    if values.flag("sig-proxy") and not config.get("Tty"):
        streams.pass_signals(session, identifier)
    conversation = streams.attach(
        session,
        name,
        config,
        stdin=stdin,
        stdout=True,
        stderr=True,
        detach_keys=values.text("detach-keys"),
    )
    if config.get("Tty") and os.isatty(streams.STDOUT):
        _redraw(session, identifier)
    if not conversation.run():
        print("read escape sequence", file=sys.stderr)
        return 1
    return streams.exit_status(waiting, session)


def _redraw(session: Session, identifier: str) -> None:
    """A change of size makes a program that draws the screen draw it again."""
    from orlop.cli.terminal import size

    columns, rows = size()
    session.post(f"/containers/{identifier}/resize{query(h=rows + 1, w=columns + 1)}")
    streams.follow_size(session, f"/containers/{identifier}")


def check_state(state: Object) -> None:
    """Refuse to attach to what does not run.

    Raises:
        Failure: docker's text.
    """
    if not state.get("Running"):
        raise Failure("You cannot attach to a stopped container, start it first")
    if state.get("Paused"):
        raise Failure("You cannot attach to a paused container, unpause it first")
    if state.get("Restarting"):
        raise Failure("You cannot attach to a restarting container, wait until it is running")


COMMANDS = {"attach": Command(run, "[OPTIONS] CONTAINER", FLAGS, words=(1, 1))}
