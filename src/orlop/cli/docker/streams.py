"""Being the terminal of a program in a container: both ways, raw mode, size, detaching, signals."""

from __future__ import annotations

# Not signal: that brings enum, which takes as long to load as all of this command.
import _signal  # type: ignore[import-not-found,unused-ignore]
import os
import select
from _socket import SHUT_WR

from orlop.cli.docker.failure import Failure
from orlop.cli.docker.session import query, quote
from orlop.cli.relay import READ_BYTES, write_all
from orlop.lib import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable

    from orlop.cli.client import Response
    from orlop.cli.docker.session import Object, Session
    from orlop.wire.detach_keys import DetachScanner

STDIN, STDOUT, STDERR = 0, 1, 2
SIGNALS = (
    *("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGTSTP"),
    *("SIGCONT", "SIGTTIN", "SIGTTOU"),
)
"""Those that are passed on to the container's process."""


def check_terminal(*, stdin: bool, tty: bool) -> None:
    """Refuse to be a terminal where stdin is none.

    Raises:
        Failure: docker's text.
    """
    if stdin and tty and not os.isatty(STDIN):
        raise Failure("the input device is not a TTY")


class Conversation:
    """An attached or executed program: what it writes comes here, what is typed goes there."""

    def __init__(
        self, response: Response, *, stdin: bool, tty: bool, detach_keys: str = ""
    ) -> None:
        self._connection, self._early = response.detach()
        self._tty = tty
        self._stdin = stdin
        self._scanner: DetachScanner | None = None
        if stdin and tty and os.isatty(STDIN):
            from orlop.wire import detach_keys as keys

            self._scanner = keys.DetachScanner(keys.parse(detach_keys))

    def run(self) -> bool:
        """Go on until the program's output ends.

        Returns:
            False if the user has typed the keys that detach.
        """
        try:
            if self._scanner is None:
                return self._exchange()
            from orlop.cli.terminal import RawTerminal

            with RawTerminal(STDIN):
                return self._exchange()
        finally:
            self._connection.close()

    def close(self) -> None:
        """Give it up before it has begun."""
        self._connection.close()

    def _exchange(self) -> bool:
        deliver = self._deliverer()
        deliver(self._early)
        poll = select.poll()
        poll.register(self._connection.fileno(), select.POLLIN)
        if self._stdin:
            poll.register(STDIN, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor != STDIN or descriptor == self._connection.fileno():
                    data = _receive(self._connection)
                    if not data:
                        return True
                    deliver(data)
                    continue
                kept, detached = self._typed()
                if detached:
                    return False
                if not kept:
                    poll.unregister(STDIN)

    def _typed(self) -> tuple[bool, bool]:
        """Pass on what was typed; is there more to come, and were the detach keys among it?"""
        try:
            data = os.read(STDIN, READ_BYTES)
        except OSError:  # a terminal that hung up
            data = b""
        detached = False
        at_end = not data
        if self._scanner is not None:
            data, detached = self._scanner.feed(data)
        try:
            if data:
                self._connection.sendall(data)
            if at_end:
                self._connection.shutdown(SHUT_WR)
        except OSError:
            return False, detached  # it listens no more; what it still says is read to its end
        return not at_end, detached

    def _deliverer(self) -> Callable[[bytes], None]:
        if self._tty:
            return lambda data: write_all(STDOUT, data)
        from orlop.cli.output import Demultiplexer

        return Demultiplexer().feed


def _receive(connection: socket) -> bytes:
    try:
        return connection.recv(READ_BYTES)
    except ConnectionResetError:
        return b""


def attach(
    session: Session,
    name: str,
    config: Object,
    *,
    stdin: bool,
    stdout: bool,
    stderr: bool,
    detach_keys: str,
) -> Conversation:
    """Attach to the container *name*, whose `Config` is *config*, before or while it runs."""
    keys = detach_keys or session.config_text("detachKeys")
    target = f"/containers/{quote(name)}/attach" + query(
        detachKeys=keys, stdin=stdin, stdout=stdout, stderr=stderr, stream=True
    )
    response = session.request("POST", target, upgrade=True)
    return Conversation(response, stdin=stdin, tty=bool(config.get("Tty")), detach_keys=keys)


def follow_size(session: Session, target: str) -> None:
    """Give the terminal at *target* (`/containers/ID`, `/exec/ID`) the size of this one, always."""
    from orlop.cli.terminal import size

    def resize(*_: object) -> None:
        columns, rows = size()
        try:
            session.post(f"{target}/resize{query(h=rows, w=columns)}")
        except errors.OrlopError:
            pass  # it has just ended, or keeps the size it has: nothing to stop for

    if os.isatty(STDOUT):
        resize()
        _signal.signal(_signal.SIGWINCH, resize)


def pass_signals(session: Session, name: str) -> None:
    """From now on signals to this process are sent to the container *name* instead."""

    def send(number: int, _: object) -> None:
        import signal

        try:
            kill = query(signal=signal.Signals(number).name.removeprefix("SIG"))
            session.post(f"/containers/{quote(name)}/kill{kill}")
        except errors.OrlopError:
            pass  # it has just ended

    for each in SIGNALS:
        _signal.signal(getattr(_signal, each), send)


def exit_status(response: Response, session: Session) -> int:
    """The exit status that the answer to a wait tells.

    Raises:
        Failure: the engine says that the wait itself failed.
    """
    answer = session.client.value_of(response)
    if not isinstance(answer, dict):
        return 125
    error = answer.get("Error")
    if isinstance(error, dict) and error.get("Message"):
        raise Failure(f"Error waiting for container: {error['Message']}", 125)
    code = answer.get("StatusCode")
    return code if isinstance(code, int) else 125
