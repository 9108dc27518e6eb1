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
    session = start(client, arguments.words[0], request_of(arguments))
    return session.run(interactive=arguments.flag("interactive"), terminal=arguments.flag("tty"))


def start(client: Client, name: str, request: Object) -> Session:
    """Start the program that *request* describes in container *name*.

    Raises:
        OrlopError: it has not been started.
    """
    created = client.post(f"/containers/{name}/exec", request)
    if not isinstance(created, dict):
        raise Internal("the engine gave the program no id")
    exec_id = text_of(created, "Id")
    body: Object = {"Detach": False, "Tty": request["Tty"]}
    if request["Tty"]:
        # A terminal has its size before the program can look at it; what follows is its changes.
        columns, rows = size()
        body["ConsoleSize"] = [rows, columns]
    response = client.request("POST", f"/exec/{exec_id}/start", body, upgrade=True)
    return Session(client, exec_id, *response.detach())


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


class Session:
    """A program that runs, and the connection to it."""

    def __init__(self, client: Client, exec_id: str, connection: socket, early: bytes) -> None:
        self._client, self._id = client, exec_id
        self._connection, self._early = connection, early
        self.was_running = True
        """False once it is known that the program could not be executed."""

    def run(self, *, interactive: bool, terminal: bool) -> int:
        """Be the program's terminal until it ends, and return its exit status."""
        try:
            self._attach(STDIN if interactive else None, terminal=terminal)
        finally:
            self._connection.close()
        state = self._state()
        self.was_running = bool(number_of(state, "Pid"))
        return int(number_of(state, "ExitCode"))

    def end_with_terminal(self) -> None:
        """Let the program have the hangup of this one's terminal, which otherwise it never sees."""
        import signal

        def hang_up(number: int, _: object) -> None:
            try:
                if pid := int(number_of(self._state(), "Pid")):
                    os.kill(pid, number)
            except (OrlopError, OSError):
                pass  # it has ended, or the engine is not there: nobody can be told
            os._exit(128 + number)

        signal.signal(signal.SIGHUP, hang_up)

    def _attach(self, stdin: int | None, *, terminal: bool) -> None:
        if not terminal:
            output = Demultiplexer()
            output.feed(self._early)
            relay(self._connection, stdin, STDOUT, output.feed)
            return
        with RawTerminal(STDIN):
            self._follow_terminal()
            write_all(STDOUT, self._early)
            relay(self._connection, stdin, STDOUT, lambda data: write_all(STDOUT, data))

    def _follow_terminal(self) -> None:
        """Give the program's terminal the size of this one, now and whenever it changes."""
        import signal

        def resize(*_: object) -> None:
            columns, rows = size()
            try:
                self._client.post(f"/exec/{self._id}/resize?h={rows}&w={columns}")
            except OrlopError:
                pass  # it has just ended, or keeps the size it has: nothing to stop for

        resize()
        signal.signal(signal.SIGWINCH, resize)

    def _state(self) -> Object:
        state = self._client.get(f"/exec/{self._id}/json")
        if not isinstance(state, dict):
            raise Internal("the engine does not know how the program ended")
        return state


def _status_of(error: OrlopError) -> int:
    """Docker's exit status for a program that did not start."""
    if isinstance(error, InvalidArgument):
        text = error.message.lower()
        if "not found" in text or "no such file" in text:
            return NOT_FOUND_STATUS
        return CANNOT_RUN_STATUS
    return 1 if isinstance(error, NotFound) else ENGINE_STATUS
