"""`orlop sudo`, which is `sudo` too: a command as root, for users who may.

No file here is set-uid: the program that keeps this console or SSH session runs the command and
looks at who asks. A command that has a terminal gets a new one, and this one is tied to it.
"""

from __future__ import annotations

import os

from orlop.cli.arguments import Option, UsageError
from orlop.cli.commands import MANY
from orlop.cli.relay import write_all
from orlop.cli.terminal import RawTerminal, size
from orlop.lib.errors import Forbidden, Unavailable
from orlop.wire.elevation import CANNOT_RUN_STATUS, NOT_FOUND_STATUS, SOCKET, decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from orlop.cli.arguments import Arguments

USAGE = "sudo [OPTION...] [PROGRAM [ARGUMENT...]]"
OPTIONS = (
    Option("login", "i", help="as at a login of root: in /root, with a login shell"),
    Option("shell", "s", help="a shell"),
    Option("list", "l", help="say what you may run, and run nothing"),
    Option("non-interactive", "n", help="fail rather than ask for a password"),
    Option("user", "u", value="USER", help="root, and nobody else"),
    Option("set-home", "H", help="no more than without: HOME is root's in any case"),
    Option("stdin", "S", help="read the password from the standard input"),
    Option("prompt", "p", value="TEXT", help="ask for the password with this text"),
)
WORDS = (0, MANY)
MORE = """\
What you may run is in the configuration: `sudo` of your entry in `users`.
Each command and its end is in the log: orlop logs."""

READ_BYTES = 64 << 10


def run(arguments: Arguments) -> int:
    if arguments.value("user", "root") not in ("root", "#0"):
        raise UsageError("only root's commands can be run")
    words = arguments.words
    if not words and not any(map(arguments.flag, ("login", "shell", "list"))):
        raise UsageError("what is to be run?")
    if arguments.flag("login") or arguments.flag("shell"):
        words = ["/bin/sh", "-c", " ".join(map(_quote, words))] if words else ["/bin/sh"]
    if os.geteuid() == 0 and not arguments.flag("list"):
        return _become(words, login=arguments.flag("login"))
    return _Session(arguments, words).run()


def _quote(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def _become(words: list[str], *, login: bool) -> int:
    """Who is root already needs nobody."""
    if login:
        os.chdir("/root")
    try:
        os.execvp(words[0], [f"-{os.path.basename(words[0])}" if login else words[0], *words[1:]])
    except FileNotFoundError:
        raise_status, text = NOT_FOUND_STATUS, "not found"
    except OSError as error:
        raise_status, text = CANNOT_RUN_STATUS, str(error.strerror)
    os.write(2, f"sudo: {words[0]}: {text}\n".encode())
    return raise_status


class _Session:
    """One command, from the request to its end."""

    def __init__(self, arguments: Arguments, words: list[str]) -> None:
        self._arguments = arguments
        self._words = words
        self._buffer = b""
        self._master = -1
        self._status: int | None = None

    def run(self) -> int:
        import socket

        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(SOCKET)
            socket.send_fds(connection, [self._request()], [0, 1, 2])
        except OSError as error:
            raise Unavailable(
                f"nobody here can make you root: {SOCKET}: {error.strerror}",
                hint="log in by SSH, or at the console",
            ) from None
        with connection:
            self._follow(connection)
        if self._status is None:
            raise Forbidden("the connection was cut: too many at once, or the service has ended")
        return self._status

    def _request(self) -> bytes:
        return encode(
            {
                "command": self._words,
                "login": self._arguments.flag("login"),
                "cwd": _cwd(),
                "term": os.environ.get("TERM", "dumb"),
                "terminals": [os.isatty(standard) for standard in range(3)],
                "size": [*size()],
                "list": self._arguments.flag("list"),
                "ask": not self._arguments.flag("non-interactive"),
            }
        )

    def _follow(self, connection: socket.socket) -> None:
        """Until the command has ended, or has a terminal that is to be served until then."""
        import socket

        while self._status is None and self._master < 0:
            data, descriptors, _, _ = socket.recv_fds(connection, READ_BYTES, 1)
            if not data:
                return
            if descriptors:
                self._master = descriptors[0]
            self._take(connection, data)
        if self._master >= 0 and self._status is None:
            self._serve_terminal(connection)

    def _take(self, connection: socket.socket, data: bytes) -> None:
        self._buffer += data
        while b"\n" in self._buffer:
            line, _, self._buffer = self._buffer.partition(b"\n")
            message = decode(line)
            if "ask" in message:
                connection.sendall(encode({"answer": self._type(str(message["ask"]))}))
            elif "text" in message:
                os.write(2, f"{message['text']}\n".encode())
            elif isinstance(status := message.get("exit"), int):
                self._status = status

    def _type(self, prompt: str) -> str | None:
        """What is typed at *prompt*, or another that is given; None if nothing is."""
        prompt = self._arguments.value("prompt", prompt)
        if not self._arguments.flag("stdin"):
            return _type(prompt)
        from orlop.lib.password_hash import ask

        try:
            return ask(prompt)
        except EOFError:
            return None

    def _serve_terminal(self, connection: socket.socket) -> None:
        import signal

        terminal = next(standard for standard in range(3) if os.isatty(standard))
        signal.signal(signal.SIGWINCH, lambda *_: self._resize())
        with RawTerminal(terminal):
            self._relay(connection, 0 if os.isatty(0) else None, 1 if os.isatty(1) else 2)

    def _resize(self) -> None:
        import fcntl
        import struct
        import termios

        columns, rows = size()
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def _relay(self, connection: socket.socket, stdin: int | None, stdout: int) -> None:
        import select

        poll = select.poll()
        for descriptor in (connection.fileno(), self._master, *([] if stdin is None else [stdin])):
            poll.register(descriptor, select.POLLIN)
        while self._status is None:
            for descriptor, _ in poll.poll():
                if descriptor == connection.fileno():
                    data = connection.recv(READ_BYTES)
                    if not data:
                        return
                    self._take(connection, data)
                elif not _copy(descriptor, stdout if descriptor == self._master else self._master):
                    poll.unregister(descriptor)
        os.set_blocking(self._master, False)
        while _copy(self._master, stdout):
            pass


def _copy(source: int, target: int) -> bool:
    """Pass on what there is; False at the end."""
    try:
        data = os.read(source, READ_BYTES)
        write_all(target, data)
    except OSError:  # a terminal that nobody has open any more
        return False
    return bool(data)


def _cwd() -> str:
    try:
        return os.getcwd()
    except OSError:
        return "/"


def _type(prompt: str) -> str | None:
    """What is typed at *prompt*, not shown; None without a terminal."""
    import getpass

    try:
        with open("/dev/tty", "r+b", buffering=0):
            pass
        return getpass.getpass(prompt)
    except (OSError, EOFError):
        return None
