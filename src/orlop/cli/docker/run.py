"""`docker run`: create, attach, start, and be the program's terminal until it ends."""

from __future__ import annotations

import sys

from orlop.cli.docker import streams
from orlop.cli.docker.command import Command
from orlop.cli.docker.create import body_of, create, report
from orlop.cli.docker.failure import CANNOT_RUN, FLAGS_STATUS, NOT_FOUND, Failure
from orlop.cli.docker.flags import MANY
from orlop.cli.docker.run_flags import CREATE, RUN
from orlop.cli.docker.session import query
from orlop.lib import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.client import Response
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Object, Session


def run(session: Session, values: Values) -> int:
    try:
        body = body_of(values)
    except ValueError as error:
        raise report("run", str(error)) from None
    if not values.flag("detach"):
        streams.check_terminal(stdin=bool(body["AttachStdin"]), tty=bool(body["Tty"]))
    elif values.given("attach"):
        raise Failure("Conflicting options: -a and -d")
    else:
        body |= {"AttachStdin": False, "AttachStdout": False, "AttachStderr": False}
        body["StdinOnce"] = False
    if body["Tty"]:
        from orlop.cli.terminal import size

        host = body["HostConfig"]
        assert isinstance(host, dict)
        columns, rows = size()
        host["ConsoleSize"] = [rows, columns]
    try:
        identifier = create(session, values, body)
    except (ValueError, errors.OrlopError) as error:
        raise report("run", str(error), status_of(str(error))) from None
    return _run(session, values, body, identifier)


def _run(session: Session, values: Values, body: Object, identifier: str) -> int:
    if values.flag("sig-proxy") and not values.flag("detach"):
        streams.pass_signals(session, identifier)
    talks = bool(body["AttachStdout"] or body["AttachStderr"])
    conversation = waiting = None
    if talks or body["AttachStdin"]:
        conversation = _attach(session, values, body, identifier)
    if talks:
        condition = "removed" if values.flag("rm") else "next-exit"
        waiting = session.request(
            "POST", f"/containers/{identifier}/wait{query(condition=condition)}"
        )
    try:
        session.post(f"/containers/{identifier}/start")
    except errors.OrlopError as error:
        raise _not_started(error, values, conversation, waiting) from None
    if waiting is None:
        print(identifier)
        sys.stdout.flush()
    if conversation is None:
        return 0
    if body["Tty"]:
        streams.follow_size(session, f"/containers/{identifier}")
    if conversation.run() and waiting is not None:
        return streams.exit_status(waiting, session)
    return 0


def _attach(
    session: Session, values: Values, body: Object, identifier: str
) -> streams.Conversation:
    return streams.attach(
        session,
        identifier,
        body,
        stdin=bool(body["AttachStdin"]),
        stdout=bool(body["AttachStdout"]),
        stderr=bool(body["AttachStderr"]),
        detach_keys=values.text("detach-keys"),
    )


def _not_started(
    error: errors.OrlopError,
    values: Values,
    conversation: streams.Conversation | None,
    waiting: Response | None,
) -> Failure:
    if conversation is not None:
        conversation.close()
    if waiting is not None and values.flag("rm"):
        waiting.read()  # until it is removed
    return report("run", error.message, status_of(error.message), with_help=False)


def status_of(message: str) -> int:
    """Docker's exit status for a container that did not start."""
    text = message.removeprefix("Error response from daemon: ").lower()
    if "executable file not found" in text or "no such file or directory" in text:
        return NOT_FOUND
    if "permission denied" in text or "is a directory" in text:
        return CANNOT_RUN
    return FLAGS_STATUS


COMMANDS = {
    "run": Command(
        run, "[OPTIONS] IMAGE [COMMAND] [ARG...]", (*RUN, *CREATE), words=(1, MANY), leading=True
    ),
}
