"""Requests of the host, and the commands they start.

A request is one line of JSON, `{"id": 1, "argv": ["sh", "-c", "…"], "stdin": "<base64>",
"timeout_s": 30}`, its answer another, `{"id": 1, "status": 0, "stdout": "<base64>", "stderr":
"<base64>"}`. A command that is killed by signal N has status -N; one that could not be run at all
has `"error"` with a sentence instead. Everything is bounded: request, output, time, and the number
of commands at once.
"""

import base64
import binascii
import json
import os
import signal
from collections.abc import Mapping
from typing import NamedTuple

from orlop.lib.errors import InvalidArgument

MAX_OUTPUT_BYTES = 8 << 20
"""Of each of stdout and stderr. What is more is read and dropped, and the answer says
`truncated`."""

DEFAULT_TIMEOUT_S = 60.0
MAX_TIMEOUT_S = 86400.0
READ_BYTES = 65536

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/sh",
    "TERM": "dumb",
}


class Request(NamedTuple):
    """A valid request. *identifier* is whatever JSON value the host chose."""

    identifier: object
    argv: list[str]
    standard_input: bytes
    timeout_s: float


def parse_request(line: bytes) -> Request:
    """Check one line.

    Raises:
        InvalidArgument: not a request.
    """
    try:
        data = json.loads(line)
        if not isinstance(data, dict):
            raise InvalidArgument("a request is an object")
        standard_input = base64.b64decode(_string(data, "stdin"), validate=True)
    except (ValueError, binascii.Error, RecursionError) as error:
        raise InvalidArgument(f"not a request: {error}") from None
    argv = data.get("argv")
    if not isinstance(argv, list) or not argv or not all(_is_word(word) for word in argv):
        raise InvalidArgument("argv must be a list of strings, not empty")
    timeout_s = data.get("timeout_s", DEFAULT_TIMEOUT_S)
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not timeout_s > 0:
        raise InvalidArgument("timeout_s must be a number above 0")
    return Request(data.get("id"), argv, standard_input, min(float(timeout_s), MAX_TIMEOUT_S))


def _string(data: Mapping[str, object], key: str) -> str:
    value = data.get(key, "")
    if not isinstance(value, str):
        raise InvalidArgument(f"{key} must be a string")
    return value


def _is_word(word: object) -> bool:
    return isinstance(word, str) and "\0" not in word


def identifier_of(line: bytes) -> object:
    """The `id` of a line that is no valid request, so that the host learns which one it was."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return data.get("id") if isinstance(data, dict) else None


class Job:
    """A running command: its pipes, what it has said so far, and when its time is up."""

    def __init__(self, request: Request, deadline_s: float) -> None:
        """Start it, as the leader of a session of its own.

        Raises:
            OSError: it cannot be started.
        """
        self.request = request
        self.deadline_s = deadline_s
        self.timed_out = self.truncated = self.abandoned = False
        self.status: int | None = None
        self.output: dict[int, bytearray] = {}
        self.stdin, self._unsent = -1, memoryview(request.standard_input)
        self._start()

    def _start(self) -> None:
        ends = [os.pipe2(os.O_CLOEXEC) for _ in range(3)]
        (stdin_reader, self.stdin), (self.stdout, stdout_writer), (self.stderr, stderr_writer) = (
            ends
        )
        theirs = (stdin_reader, stdout_writer, stderr_writer)
        try:
            self.process_id = os.posix_spawnp(
                self.request.argv[0],
                self.request.argv,
                ENVIRONMENT,
                file_actions=[(os.POSIX_SPAWN_DUP2, end, n) for n, end in enumerate(theirs)],
                setsid=True,
                setsigmask=(),
                setsigdef=(signal.SIGPIPE,),
            )
        except OSError:
            for descriptor in (self.stdin, self.stdout, self.stderr):
                os.close(descriptor)
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        for descriptor in (self.stdin, self.stdout, self.stderr):
            os.set_blocking(descriptor, False)
        self.output = {self.stdout: bytearray(), self.stderr: bytearray()}
        self._buffers = (self.output[self.stdout], self.output[self.stderr])
        self.pidfd = os.pidfd_open(self.process_id)

    def feed(self) -> bool:
        """Write what the command's stdin takes; False when all is written or nobody reads."""
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(self.stdin, self._unsent) :]
        except BlockingIOError:
            return True
        except OSError:
            pass  # the command does not want it
        os.close(self.stdin)
        self.stdin = -1
        return False

    def drain(self, descriptor: int) -> bool:
        """Read what *descriptor* has; False at its end, after closing it."""
        buffer = self.output[descriptor]
        try:
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return True
        if not data:
            os.close(descriptor)
            del self.output[descriptor]
            return False
        room = MAX_OUTPUT_BYTES - len(buffer)
        self.truncated |= len(data) > room
        buffer += data[: max(0, room)]
        return True

    def kill(self) -> None:
        """End the command and its process group; it is not reaped yet, so the number is still
        its."""
        try:
            os.killpg(self.process_id, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def reap(self) -> None:
        """Take the exit status; call when the pidfd is readable."""
        # What it left running in its session keeps the pipes open: the command itself is over.
        self.kill()
        _, status = os.waitpid(self.process_id, 0)
        self.status = os.waitstatus_to_exitcode(status)
        os.close(self.pidfd)

    def close(self) -> list[int]:
        """Close the pipes that are still open and name them."""
        descriptors = [*self.output, *([self.stdin] if self.stdin >= 0 else [])]
        for descriptor in descriptors:
            os.close(descriptor)
        self.output, self.stdin = {}, -1
        return descriptors

    def answer(self) -> dict[str, object]:
        """The answer's content, once `status` is there."""
        stdout, stderr = self._buffers
        found: dict[str, object] = {
            "id": self.request.identifier,
            "status": self.status,
            "stdout": base64.b64encode(stdout).decode(),
            "stderr": base64.b64encode(stderr).decode(),
        }
        if self.timed_out:
            found["timed_out"] = True
        if self.truncated:
            found["truncated"] = True
        return found
