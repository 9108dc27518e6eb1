"""Commands in a guest, over the agent's virtio port: one JSON object per line, each way.

    {"id": 1, "argv": ["sh", "-c", "..."], "stdin": "<base64>", "timeout_s": 30}
    {"id": 1, "status": 0, "stdout": "<base64>", "stderr": "<base64>"}

The port is one stream however often the host connects to it, so an answer may belong to a client
that left. Ids are random for that reason, and what does not match is dropped. A request that
comes before the agent is up waits in QEMU until it is. The port says nothing about a guest that
restarts, and the answer to what ran then never comes: the boot channel tells.
"""

import base64
import binascii
import json
import secrets
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orlop.lib.errors import DeadlineExceeded, Unavailable
from orlop.vm.boot_log import BootLogReader, ends_boot
from orlop.vm.directory import read_or_empty
from orlop.vm.qemu import BOOT_LOG
from orlop.vm.sockets import connect_in

ANSWER_LIMIT_BYTES = 64 << 20
"""A bound against a guest that never ends its line; the agent itself cuts output far below."""

SLACK_S = 15.0
"""How much longer than the command's own limit the host waits: an emulated guest is slow."""

_LOOK_EVERY_S = 0.5
"""How often to see whether the guest went down, while there is no answer."""

_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Request:
    """A command to run in the guest."""

    id: int
    argv: tuple[str, ...]
    stdin: bytes = b""
    timeout_s: float = 30.0

    def encode(self) -> bytes:
        value: dict[str, object] = {"id": self.id, "argv": list(self.argv)}
        if self.stdin:
            value["stdin"] = base64.b64encode(self.stdin).decode()
        value["timeout_s"] = self.timeout_s
        return json.dumps(value).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended: its status (minus the signal's number if killed) and its output.

    *error* is set when the agent could not run it at all.
    """

    id: int
    status: int
    stdout: bytes = b""
    stderr: bytes = b""
    error: str = ""


def parse_answer(line: bytes) -> Answer | None:
    """Parse one line; None for anything that is not an answer."""
    try:
        value = json.loads(line)
        if not isinstance(value, dict) or not isinstance(value.get("id"), int):
            return None
        status = value.get("status", -1)
        return Answer(
            id=value["id"],
            status=status if isinstance(status, int) else -1,
            stdout=base64.b64decode(value.get("stdout") or "", validate=True),
            stderr=base64.b64decode(value.get("stderr") or "", validate=True),
            error=str(value.get("error") or ""),
        )
    except (ValueError, TypeError, binascii.Error):
        return None


class AnswerReader:
    """Turns the port's bytes into answers; no I/O."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Answer]:
        """Take the next bytes and return the answers that are complete now.

        Raises:
            Unavailable: a line is longer than any answer may be.
        """
        self._buffer += data
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = rest
        if len(rest) > ANSWER_LIMIT_BYTES:
            raise Unavailable("the agent in the guest sent a line without an end")
        return [answer for line in lines if (answer := parse_answer(bytes(line))) is not None]


class AgentClient:
    """A connection to the agent of the machine in *directory*; the port takes one at a time."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = name
        self._socket: socket.socket | None = None
        self._reader = AnswerReader()

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout_s: float = 30.0,
        slack_s: float = SLACK_S,
    ) -> Answer:
        """Run *argv* in the guest and wait for its end.

        Raises:
            DeadlineExceeded: no answer came, *slack_s* after the guest's own limit.
            Unavailable: the port is gone (QEMU ended), the guest went down or restarted meanwhile,
                or the agent could not run *argv*.
        """
        request = Request(secrets.randbits(53), tuple(argv), stdin, timeout_s)
        limit_s = timeout_s + slack_s
        deadline = time.monotonic() + limit_s
        boot = _Boot(self._directory / BOOT_LOG)
        try:
            connection = self._connect()
            connection.settimeout(limit_s)
            connection.sendall(request.encode())
            answer = self._wait(connection, request.id, deadline, boot)
        except TimeoutError as error:
            self.close()
            raise DeadlineExceeded(
                f"the guest did not answer within {limit_s:.0f} s: {' '.join(argv)}"
            ) from error
        except OSError as error:
            self.close()
            raise Unavailable(f"cannot reach the guest's agent: {error.strerror}") from error
        if answer.error:
            raise Unavailable(f"the guest cannot run {argv[0]}: {answer.error}")
        return answer

    def _connect(self) -> socket.socket:
        if self._socket is None:
            self._socket = connect_in(self._directory, self._name)
            self._reader = AnswerReader()
            # Ends a line that a client before us may have left half written.
            self._socket.sendall(b"\n")
        return self._socket

    def _wait(
        self, connection: socket.socket, wanted: int, deadline: float, boot: "_Boot"
    ) -> Answer:
        while (remaining_s := deadline - time.monotonic()) > 0:
            connection.settimeout(min(remaining_s, _LOOK_EVERY_S))
            try:
                data = connection.recv(_CHUNK_BYTES)
            except TimeoutError:
                if boot.ended():
                    self.close()
                    raise Unavailable("the guest went down before it answered") from None
                continue
            if not data:
                raise ConnectionResetError(104, "the port was closed")
            for answer in self._reader.feed(data):
                if answer.id == wanted:
                    return answer
        raise TimeoutError

    def close(self) -> None:
        """Let others connect; a later `run` connects again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class _Boot:
    """The boot that a request is made in, by the boot channel's log at *path*."""

    def __init__(self, path: Path) -> None:
        self._path = path
        said = read_or_empty(path)
        self._length_bytes = len(said)
        self._before = BootLogReader().feed(said)

    def ended(self) -> bool:
        """Whether the machine went down or started again since."""
        since = read_or_empty(self._path)[self._length_bytes :]
        return ends_boot(self._before, BootLogReader().feed(since))
