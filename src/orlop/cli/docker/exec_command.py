"""`docker exec`."""

from __future__ import annotations

from orlop.cli.docker import streams
from orlop.cli.docker.command import Command
from orlop.cli.docker.failure import Failure
from orlop.cli.docker.flags import BOOL, LIST, MANY, STRING, Flag
from orlop.cli.docker.session import as_object, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Object, Session

FLAGS = (
    Flag("detach", "d", BOOL, "do not wait"),
    Flag("detach-keys", "", STRING, "keys that detach from the terminal (ctrl-p,ctrl-q)"),
    Flag("env", "e", LIST, "environment: NAME=VALUE, or NAME as it is here"),
    Flag("env-file", "", LIST, "file with environment variables, a line each"),
    Flag("interactive", "i", BOOL, "pass on what is typed"),
    Flag("privileged", "", BOOL, "all capabilities"),
    Flag("tty", "t", BOOL, "give it a terminal"),
    Flag("user", "u", STRING, "user: NAME or ID[:GROUP]"),
    Flag("workdir", "w", STRING, "folder to start in"),
)


def run(session: Session, values: Values) -> int:
    try:
        body = body_of(values, session.config_text("detachKeys"))
    except ValueError as error:
        raise Failure(str(error)) from None
    name = quote(values.words[0])
    detach, tty = bool(body["Detach"]), bool(body["Tty"])
    if not detach and tty and body["AttachStdin"]:
        session.get(f"/containers/{name}/json")  # that it is not there is said first
        streams.check_terminal(stdin=True, tty=True)
    created = as_object(session.post(f"/containers/{name}/exec", body))
    identifier = str(created.get("Id", ""))
    if not identifier:
        raise Failure("exec ID empty")
    start: Object = {"Detach": detach, "Tty": tty}
    if tty:
        start["ConsoleSize"] = body["ConsoleSize"]
    if detach:
        session.post(f"/exec/{identifier}/start", start)
        return 0
    response = session.request("POST", f"/exec/{identifier}/start", start, upgrade=True)
    conversation = streams.Conversation(
        response,
        stdin=bool(body["AttachStdin"]),
        tty=tty,
        detach_keys=str(body["DetachKeys"]),
    )
    if tty:
        streams.follow_size(session, f"/exec/{identifier}")
    if not conversation.run():
        raise Failure("read escape sequence", 1)
    code = session.get_object(f"/exec/{identifier}/json").get("ExitCode")
    return code if isinstance(code, int) else 1


def body_of(values: Values, detach_keys: str) -> Object:
    """The body of POST /containers/ID/exec.

    Raises:
        ValueError: docker's text.
    """
    from orlop.cli.docker.run_values import environment

    detach = values.flag("detach")
    body: Object = {
        "User": values.text("user"),
        "Privileged": values.flag("privileged"),
        "Tty": values.flag("tty"),
        "AttachStdin": not detach and values.flag("interactive"),
        "AttachStderr": not detach,
        "AttachStdout": not detach,
        "Detach": detach,
        "DetachKeys": values.text("detach-keys") or detach_keys,
        "Env": environment(values.many("env"), values.many("env-file")) or None,
        "WorkingDir": values.text("workdir"),
        "Cmd": values.words[1:],
    }
    if body["Tty"]:
        from orlop.cli.terminal import size

        columns, rows = size()
        body["ConsoleSize"] = [rows, columns]
    return body


COMMANDS = {
    "exec": Command(
        run, "[OPTIONS] CONTAINER COMMAND [ARG...]", FLAGS, words=(2, MANY), leading=True
    ),
}
