"""Short-lived workers: processes of Orlop that take hostile input, seen from the engine.

A worker is `orlop worker NAME ARG...` (`orlop.__main__`), started on the same code as this process.
It answers on descriptor 1 with JSON objects, one a line, the last of which is its result or
`{"error": TEXT, "kind": KIND}`. `sandbox.drop_privileges` is what it calls before it looks at any
byte of its input.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from orlop.lib import errors
from orlop.lib.errors import DeadlineExceeded, Internal, OrlopError, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from orlop.lib.children import Child, Children

MAX_LINE_BYTES = 16 << 20
"""One object of an answer: the largest is an image's configuration."""

_READ_BYTES = 256 << 10

_BOOT = (
    "import sys; p=sys.argv[1].split(':'); del sys.argv[1]; sys.path[:]=p; "
    "from orlop.__main__ import main; sys.exit(main(sys.argv[1:]))"
)


def worker_argv(name: str, *arguments: str) -> list[str]:
    """The command line of worker *name*: this interpreter, isolated, on this process's modules."""
    optimize = ["-" + "O" * sys.flags.optimize] if sys.flags.optimize else []
    path = ":".join(entry for entry in sys.path if entry)
    interpreter = sys.executable or sys.orig_argv[0]
    options = ["-I", "-S", "-B", *optimize]
    if os.path.exists(os.path.join(sys.path[0], "__main__.pyc")):
        # The machine's image: all modules are in one folder, which is itself the program.
        return [interpreter, *options, sys.path[0], "worker", name, *arguments]
    return [interpreter, *options, "-c", _BOOT, path, "worker", name, *arguments]


class Worker:
    """A running worker; made by `start_worker`."""

    def __init__(self, child: Child, output: int) -> None:
        self._child = child
        self._output = output

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """Its objects as they come, until it closes its output.

        Raises:
            OrlopError: the worker says that it failed, ended badly, or wrote something else.
        """
        buffer = bytearray()
        while data := await _read(self._output):
            buffer += data
            while (end := buffer.find(b"\n")) >= 0:
                line = bytes(buffer[:end])
                del buffer[: end + 1]
                yield _parse(line)
            if len(buffer) > MAX_LINE_BYTES:
                raise Internal("a worker answers without end")
        status = await self._child.wait()
        if not status.ok:
            reason = f"signal {status.signal}" if status.signal else f"status {status.code}"
            if status.signal in (signal.SIGXCPU, signal.SIGKILL):
                reason += ", a limit on its time or memory"
            raise Internal(f"a worker process ended with {reason}")

    async def result(self) -> dict[str, Any]:
        """The last object.

        Raises:
            OrlopError: as `messages`, or there was none.
        """
        last: dict[str, Any] | None = None
        async for message in self.messages():
            last = message
        if last is None:
            raise Internal("a worker process gave no answer")
        return last


@contextlib.asynccontextmanager
async def start_worker(
    children: Children,
    name: str,
    *arguments: str,
    fds: Mapping[int, int],
    timeout_s: float,
) -> AsyncIterator[Worker]:
    """Run worker *name* while the block runs; it is killed at the end of the block if it still is.

    *fds*: child's number -> ours; 1 is taken by the answer. The time limit is on the whole block.

    Raises:
        DeadlineExceeded: after *timeout_s*. Unavailable: it cannot be started.
    """
    # Here, as workers use this module too: loading asyncio would be half of their start.
    import asyncio

    from orlop.lib.children import end_session

    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            child = await _spawn(children, name, arguments, {**fds, 1: writing})
        finally:
            os.close(writing)
        os.set_blocking(reading, False)
        try:
            async with asyncio.timeout(timeout_s):
                yield Worker(child, reading)
        except TimeoutError:
            raise DeadlineExceeded(f"the {name} worker took longer than {timeout_s:g} s") from None
        finally:
            await end_session(child)
    finally:
        os.close(reading)


async def _spawn(
    children: Children, name: str, arguments: Sequence[str], fds: Mapping[int, int]
) -> Child:
    try:
        argv = worker_argv(name, *arguments)
        return await children.spawn_patiently(argv, fds=fds, new_session=True)
    except OSError as error:
        raise Unavailable(f"cannot start the {name} worker: {error.strerror}") from error


async def read_some(descriptor: int) -> bytes:
    """Some bytes of a non-blocking pipe, as soon as there are any; empty at its end."""
    return await _read(descriptor)


async def write_all(descriptor: int, data: bytes) -> None:
    """Write *data* to a non-blocking pipe, waiting for its reader.

    Raises:
        BrokenPipeError: the reader is gone.
    """
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            await _ready(descriptor, writing=True)


async def _read(descriptor: int) -> bytes:
    while True:
        try:
            return os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            await _ready(descriptor, writing=False)


async def _ready(descriptor: int, *, writing: bool) -> None:
    import asyncio

    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def wake() -> None:
        if not future.done():
            future.set_result(None)

    (loop.add_writer if writing else loop.add_reader)(descriptor, wake)
    try:
        await future
    finally:
        (loop.remove_writer if writing else loop.remove_reader)(descriptor)


def _parse(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Internal("a worker's answer is no JSON") from error
    if not isinstance(message, dict):
        raise Internal("a worker's answer is no object")
    if "error" in message:
        kind = getattr(errors, str(message.get("kind")), Internal)
        if not (isinstance(kind, type) and issubclass(kind, OrlopError)):
            kind = Internal
        hint = message.get("hint")
        raise kind(str(message["error"]), hint=hint if isinstance(hint, str) else None)
    return message


def report(message: Mapping[str, object]) -> None:
    """In a worker: write one object of the answer."""
    data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
    while data:
        data = data[os.write(1, data) :]


def report_error(error: BaseException) -> None:
    """In a worker: say why it failed."""
    kind = type(error).__name__ if isinstance(error, OrlopError) else "Internal"
    report({"error": str(error) or type(error).__name__, "kind": kind})


def check_arguments(argv: Sequence[str], count: int) -> None:
    """In a worker: refuse a wrong number of arguments, which is a bug of the engine's."""
    if len(argv) != count:
        raise Internal(f"{count} arguments expected")
