"""A machine's serial console on the caller's terminal.

In raw mode every key goes to the guest, Ctrl-C included, but for one: Ctrl-] begins a command to
this program, as in telnet and virsh. `EscapeFilter` knows the keys and does no I/O.
"""

import contextlib
import enum
import errno
import fcntl
import os
import select
import signal
import socket
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

from orlop.lib.errors import Conflict, Unavailable
from orlop.vm.qemu import CONSOLE_SOCKET
from orlop.vm.sockets import connect_in

ESCAPE = 0x1D  # Ctrl-]
_LOCK = "console.lock"
_TICK_MS = 100
_CHUNK_BYTES = 1 << 14

HELP = (
    "Ctrl-] d   leave the console; the machine goes on",
    "Ctrl-] q   shut the machine down and quit",
    "Ctrl-] r   press its reset button",
    "Ctrl-] p   press its power button",
    "Ctrl-] Ctrl-]   send Ctrl-] itself",
)


class Action(enum.Enum):
    """What a command key asks for."""

    DETACH = "d"
    QUIT = "q"
    RESET = "r"
    POWER = "p"
    HELP = "?"


class Outcome(enum.Enum):
    """Why the console was left."""

    DETACHED = enum.auto()
    QUIT = enum.auto()
    ENDED = enum.auto()


class EscapeFilter:
    """Splits typed bytes into what is the guest's and what are commands."""

    def __init__(self) -> None:
        self._escaped = False

    def feed(self, data: bytes) -> list[bytes | Action]:
        """Take typed bytes; returns bytes for the guest and actions, in order."""
        parts: list[bytes | Action] = []
        plain = bytearray()
        for byte in data:
            if not self._escaped:
                if byte == ESCAPE:
                    self._escaped = True
                else:
                    plain.append(byte)
                continue
            self._escaped = False
            action = _action(byte)
            if action is None:
                plain.append(byte)
                continue
            if plain:
                parts.append(bytes(plain))
                plain.clear()
            parts.append(action)
        if plain:
            parts.append(bytes(plain))
        return parts


def _action(byte: int) -> Action | None:
    """The action of a key after Ctrl-]; None for Ctrl-] itself; help for any other."""
    if byte == ESCAPE:
        return None
    key = chr(byte).lower()
    # Ctrl held a moment longer means the same.
    if byte < 0x20:
        key = chr(byte + 0x60)
    try:
        return Action(key)
    except ValueError:
        return Action.HELP


@contextlib.contextmanager
def raw_mode(descriptor: int) -> Iterator[None]:
    """Raw mode for as long as the context lasts; the terminal is restored however it ends."""
    saved = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, saved)


class ConsoleSession:
    """One attachment to a console; `attach` is the whole use of it."""

    def __init__(
        self,
        connection: socket.socket,
        on_action: Callable[[Action], None],
        on_tick: Callable[[], list[str]],
        *,
        interactive: bool,
    ) -> None:
        self._connection = connection
        self._on_action = on_action
        self._on_tick = on_tick
        self._interactive = interactive
        self._filter = EscapeFilter()

    def run(self, wake: int) -> Outcome:
        """Copy both ways until it ends; *wake* becomes readable when a signal asks to quit."""
        poller = select.poll()
        poller.register(self._connection, select.POLLIN)
        poller.register(wake, select.POLLIN)
        if self._interactive:
            poller.register(sys.stdin, select.POLLIN)
        while True:
            for descriptor, _ in poller.poll(_TICK_MS):
                outcome = self._ready(descriptor, wake)
                if outcome is not None:
                    return outcome
            self.say(self._on_tick())

    def _ready(self, descriptor: int, wake: int) -> Outcome | None:
        if descriptor == wake:
            return Outcome.QUIT
        if descriptor == self._connection.fileno():
            try:
                data = self._connection.recv(_CHUNK_BYTES)
            except ConnectionError:
                data = b""
            write_all(sys.stdout.fileno(), data)
            return None if data else Outcome.ENDED
        return self._typed(os.read(descriptor, _CHUNK_BYTES))

    def _typed(self, data: bytes) -> Outcome | None:
        if not data:  # the terminal is gone
            return Outcome.QUIT
        for part in self._filter.feed(data):
            match part:
                case bytes():
                    with contextlib.suppress(ConnectionError):
                        self._connection.sendall(part)
                case Action.DETACH:
                    return Outcome.DETACHED
                case Action.QUIT:
                    return Outcome.QUIT
                case Action.HELP:
                    self.say(list(HELP))
                case _:
                    self._on_action(part)
        return None

    def say(self, lines: list[str]) -> None:
        """Print lines of our own between the guest's; redraws the guest's prompt after them."""
        if not lines:
            return
        end = "\r\n" if self._interactive else "\n"
        text = "".join(f"{line}{end}" for line in ["", *lines])
        write_all(sys.stderr.fileno(), text.encode())
        if self._interactive:
            with contextlib.suppress(ConnectionError):
                self._connection.sendall(b"\r")


def attach(
    directory: Path, on_action: Callable[[Action], None], on_tick: Callable[[], list[str]]
) -> Outcome:
    """Connect the terminal to the console of the machine in *directory*.

    Without a terminal on both stdin and stdout the console is only copied to stdout, and stdin
    is left alone. *on_tick* is called some times a second; the lines it returns are printed.

    Raises:
        Conflict: someone else is attached. Unavailable: the machine does not run.
    """
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, _lock(directory))
        try:
            connection = stack.enter_context(connect_in(directory, CONSOLE_SOCKET))
        except OSError as error:
            raise Unavailable(f"{directory.name} has no console: it does not run") from error
        wake = stack.enter_context(wake_on_signals())
        if interactive:
            stack.enter_context(raw_mode(sys.stdin.fileno()))
        session = ConsoleSession(connection, on_action, on_tick, interactive=interactive)
        return session.run(wake)


@contextlib.contextmanager
def wake_on_signals() -> Iterator[int]:
    """A descriptor that becomes readable when a signal asks to end; handlers are put back."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    read_end, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    previous = signal.set_wakeup_fd(write_end)
    try:
        yield read_end
    finally:
        signal.set_wakeup_fd(previous)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(read_end)
        os.close(write_end)


def write_all(descriptor: int, data: bytes) -> None:
    """Write to a terminal or pipe; a reader that went away is not our failure."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.EIO):
                return
            raise


def _lock(directory: Path) -> int:
    descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise Conflict(
            f"another terminal shows the console of {directory.name}",
            hint=f"./orlop run logs --follow {directory.name}",
        ) from error
    return descriptor
