"""A client of QEMU's machine protocol: commands, their results, and events.

Source: QEMU's docs/interop/qmp-spec.rst. `QmpReader` splits the stream without I/O; `Qmp` adds
the socket. QEMU serves one client at a time: keep the connection short unless you own the machine.
"""

import json
import time
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from orlop.lib.errors import DeadlineExceeded, OrlopError, Unavailable
from orlop.vm.sockets import connect_in

COMMAND_TIMEOUT_S = 20.0
_CHUNK_BYTES = 1 << 16
_EVENTS_KEPT = 1000
"""Events nobody waits for; a guest can cause them (RTC_CHANGE, resets), so there is a bound."""


@dataclass(frozen=True, slots=True)
class QmpEvent:
    """Something that happened in QEMU, such as `SHUTDOWN` or `DEVICE_DELETED`."""

    name: str
    data: Mapping[str, object]


class QmpError(OrlopError):
    """QEMU refused a command."""


def parse_message(line: bytes) -> dict[str, object]:
    """Parse one line of the protocol.

    Raises:
        Unavailable: not a JSON object; QEMU never sends anything else.
    """
    try:
        value = json.loads(line)
    except ValueError as error:
        raise Unavailable(f"QEMU sent what is not its protocol: {line[:80]!r}") from error
    if not isinstance(value, dict):
        raise Unavailable(f"QEMU sent what is not its protocol: {line[:80]!r}")
    return value


class QmpReader:
    """Splits the protocol's stream into messages; no I/O."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[dict[str, object]]:
        """Take the next bytes and return the messages that are complete now."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return [parse_message(line) for line in lines if line.strip()]


def as_event(message: Mapping[str, object]) -> QmpEvent | None:
    """The event a message is, if it is one."""
    name, data = message.get("event"), message.get("data", {})
    if not isinstance(name, str):
        return None
    return QmpEvent(name, data if isinstance(data, dict) else {})


class Qmp:
    """A connection to a running QEMU; use as a context manager."""

    def __init__(self, directory: Path, name: str) -> None:
        """Connect and leave the negotiation mode.

        Raises:
            Unavailable: QEMU is not there or does not answer.
        """
        try:
            self._socket = connect_in(directory, name)
        except OSError as error:
            raise Unavailable(f"cannot reach QEMU: {error.strerror}") from error
        self._reader = QmpReader()
        self._messages: deque[dict[str, object]] = deque()
        self._events: deque[QmpEvent] = deque(maxlen=_EVENTS_KEPT)
        try:
            self._next_message(time.monotonic() + COMMAND_TIMEOUT_S)
            self.execute("qmp_capabilities")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> "Qmp":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def execute(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        *,
        timeout_s: float = COMMAND_TIMEOUT_S,
    ) -> object:
        """Run a command and return what it returns; events meanwhile are kept.

        Raises:
            QmpError: QEMU refused it.
            DeadlineExceeded: no answer within *timeout_s*.
            Unavailable: QEMU is gone.
        """
        deadline = time.monotonic() + timeout_s
        request: dict[str, object] = {"execute": command}
        if arguments:
            request["arguments"] = dict(arguments)
        try:
            self._socket.settimeout(timeout_s)
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise Unavailable(f"QEMU is gone: {error.strerror}") from error
        while True:
            message = self._next_message(deadline)
            if "return" in message:
                return message["return"]
            if "error" in message:
                raise QmpError(f"QEMU refused {command}: {_description(message['error'])}")
            self._keep(message)

    def human(self, command: str) -> str:
        """Run a command of the human monitor, for what QMP has no command for."""
        return str(self.execute("human-monitor-command", {"command-line": command}))

    def wait_for_event(self, names: Collection[str], timeout_s: float) -> QmpEvent:
        """The first event with one of *names*, kept or coming.

        Raises:
            DeadlineExceeded, Unavailable: as for `execute`.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            while self._events:
                event = self._events.popleft()
                if event.name in names:
                    return event
            self._keep(self._next_message(deadline))

    def events_nowait(self) -> list[QmpEvent]:
        """The events that came so far and that nobody took.

        Raises:
            Unavailable: QEMU is gone.
        """
        try:
            while True:
                self._keep(self._next_message(time.monotonic()))
        except DeadlineExceeded:
            taken = list(self._events)
            self._events.clear()
            return taken

    def _keep(self, message: Mapping[str, object]) -> None:
        event = as_event(message)
        if event is not None:
            self._events.append(event)

    def _next_message(self, deadline: float) -> dict[str, object]:
        while not self._messages:
            # 0 would make the socket non-blocking, with another exception.
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data = self._socket.recv(_CHUNK_BYTES)
            except TimeoutError as error:
                raise DeadlineExceeded("QEMU did not answer in time") from error
            except OSError as error:
                raise Unavailable(f"QEMU is gone: {error.strerror}") from error
            if not data:
                raise Unavailable("QEMU is gone: it closed its socket")
            self._messages.extend(self._reader.feed(data))
        return self._messages.popleft()


def _description(error: object) -> str:
    return str(error.get("desc", error)) if isinstance(error, dict) else str(error)
