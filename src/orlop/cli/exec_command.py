"""`orlop exec`: a program inside a running container."""

from __future__ import annotations

import os

from orlop.cli.answers import Object, number_of, text_of
from orlop.cli.arguments import Option, UsageError
from orlop.cli.client import Client
from orlop.cli.commands import MANY
from orlop.cli.output import Demultiplexer
from orlop.cli.relay import relay, write_all
from orlop.cli.terminal import RawTerminal, size
from orlop.lib.errors import Internal, InvalidArgument, NotFound, OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

    from orlop.cli.arguments import Arguments

USAGE = "exec [OPTION...] NAME PROGRAM [ARGUMENT...]"
OPTIONS = (
    Option("interactive", "i", help="pass what is typed on to the program"),
    Option("tty", "t", help="give the program a terminal"),
    Option("privileged", help="with every capability there is"),
    Option("user", "u", value="USER[:GROUP]", help="run as somebody else"),
    Option("workdir", "w", value="DIR", help="start in this folder of the container"),
    Option("env", "e", value="NAME=VALUE", help="set a variable of the environment"),
)
WORDS = (2, MANY)
COMPLETES = "containers"
MORE = """\
The exit status is the program's own; 125 if the engine failed, 126 if the
program cannot be run, 127 if there is no such program."""

STDIN, STDOUT = 0, 1
ENGINE_STATUS = 125
CANNOT_RUN_STATUS = 126
NOT_FOUND_STATUS = 127


def run(arguments: Arguments) -> int:
    if arguments.flag("tty") and not os.isatty(STDIN):
        raise UsageError("--tty needs a terminal, and the input is none", hint="without --tty")
    try:
        return execute(Client(), arguments)
    except UsageError:
        raise
    except OrlopError as error:
        from orlop.cli.main import report

        report(error)
        return _status_of(error)


def execute(client: Client, arguments: Arguments) -> int:
    """Start the program, be its terminal until it ends, and return its exit status."""
    name, terminal = arguments.words[0], arguments.flag("tty")
    created = client.post(f"/containers/{name}/exec", request_of(arguments))
    if not isinstance(created, dict):
        raise Internal("the engine gave the program no id")
    exec_id = text_of(created, "Id")
    response = client.request(
        "POST", f"/exec/{exec_id}/start", {"Detach": False, "Tty": terminal}, upgrade=True
    )
    connection, early = response.detach()
    try:
        _attach(client, exec_id, connection, early, arguments)
    finally:
        connection.close()
    return _exit_status(client, exec_id)


def request_of(arguments: Arguments) -> Object:
    """The body that asks the engine for the program."""
    return {
        "AttachStdin": arguments.flag("interactive"),
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": arguments.flag("tty"),
        "Privileged": arguments.flag("privileged"),
        "Cmd": arguments.words[1:],
        "User": arguments.value("user"),
        "WorkingDir": arguments.value("workdir"),
        "Env": [arguments.value("env")] if arguments.flag("env") else [],
    }


def _attach(
    client: Client, exec_id: str, connection: socket, early: bytes, arguments: Arguments
) -> None:
    stdin = STDIN if arguments.flag("interactive") else None
    if not arguments.flag("tty"):
        output = Demultiplexer()
        output.feed(early)
        relay(connection, stdin, STDOUT, output.feed)
        return
    with RawTerminal(STDIN):
        _follow_size(client, exec_id)
        write_all(STDOUT, early)
        relay(connection, stdin, STDOUT, lambda data: write_all(STDOUT, data))


def _follow_size(client: Client, exec_id: str) -> None:
    """Give the program's terminal the size of this one, now and whenever it changes."""
    import signal

    def resize(*_: object) -> None:
        columns, rows = size()
        try:
            client.post(f"/exec/{exec_id}/resize?h={rows}&w={columns}")
        except OrlopError:
            pass  # it has just ended, or keeps the size it has: nothing to stop for

    resize()
    signal.signal(signal.SIGWINCH, resize)


def _exit_status(client: Client, exec_id: str) -> int:
    state = client.get(f"/exec/{exec_id}/json")
    if not isinstance(state, dict):
        raise Internal("the engine does not know how the program ended")
    return int(number_of(state, "ExitCode"))


def _status_of(error: OrlopError) -> int:
    """Docker's exit status for a program that did not start."""
    if isinstance(error, InvalidArgument):
        text = error.message.lower()
        if "not found" in text or "no such file" in text:
            return NOT_FOUND_STATUS
        return CANNOT_RUN_STATUS
    return 1 if isinstance(error, NotFound) else ENGINE_STATUS
