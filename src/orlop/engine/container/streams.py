"""Moving a container's output to its log and to whoever is attached, and input to the container.

Output comes through named pipes which both sides hold open read-write, so that the engine may die
and come back without the container noticing: it gets neither SIGPIPE nor end-of-file, and blocks
only when nobody has read for a pipe's worth of output. A terminal's master side is a descriptor
that only this process has; it survives `execve`, not a crash.

A listener that does not keep up holds back the container, as with Docker, but only for
`STALL_LIMIT_S`; then it is dropped.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import functools
import logging
import os
import struct
import termios
import time
from typing import TYPE_CHECKING, Protocol

from orlop.lib.linux import tee
from orlop.wire.stdcopy import Stream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

READ_BYTES = 64 << 10
"""The default capacity of a pipe: one read takes all there is."""

TERMINAL_BYTES = 1 << 20
"""More than a terminal holds back."""

READS_PER_TURN = 4
"""Reads from one container before others get their turn."""

BUSY_WITHIN_S = 0.001
REST_S = 0.001
"""Who writes again so soon after being read is left alone for a while: programs write a few
kilobytes at a time, and being woken for each takes more than all that is done with them. Meanwhile
the pipe takes `BUSY_PIPE_BYTES`, more than anybody writes in that time."""
BUSY_PIPE_BYTES = 1 << 20

STALL_LIMIT_S = 10.0
"""How long one listener may hold back a container."""

HANGUP_RETRY_S = 0.5
"""A terminal that nobody has open hangs up; somebody in the container may open it again."""

MAX_INPUT_BYTES = 1 << 20
"""Input waiting for a container that does not read; a writer waits above it."""


class Listener(Protocol):
    """Somebody who wants output as it comes."""

    def deliver(self, stream: Stream, data: bytes) -> bool:
        """Take *data*; false: enough for now, `Fanout.resume` will be called."""

    def finish(self) -> None:
        """No more will come, or the listener was too slow."""


class Fanout:
    """Hands output to listeners and knows which of them are behind."""

    def __init__(self, on_resume: Callable[[], None]) -> None:
        self._listeners: set[Listener] = set()
        self._behind: dict[Listener, asyncio.TimerHandle] = {}
        self._on_resume = on_resume

    def __len__(self) -> int:
        return len(self._listeners)

    def add(self, listener: Listener) -> None:
        self._listeners.add(listener)

    def discard(self, listener: Listener) -> None:
        """Forget *listener*; harmless when it is not there."""
        self._listeners.discard(listener)
        self.resume(listener)

    def resume(self, listener: Listener) -> None:
        """*listener* can take more."""
        timer = self._behind.pop(listener, None)
        if timer is not None:
            timer.cancel()
            if not self._behind:
                self._on_resume()

    def deliver(self, stream: Stream, data: bytes) -> bool:
        """Give *data* to all; whether everybody can take more."""
        for listener in tuple(self._listeners):
            if not listener.deliver(stream, data) and listener not in self._behind:
                self._behind[listener] = asyncio.get_running_loop().call_later(
                    STALL_LIMIT_S, self._drop, listener
                )
        return not self._behind

    def finish(self) -> None:
        """Tell everybody that it is over."""
        for listener in tuple(self._listeners):
            self.discard(listener)
            listener.finish()

    def _drop(self, listener: Listener) -> None:
        log.info("a listener was too slow for its container's output, dropped")
        self.discard(listener)
        listener.finish()


class Peek:
    """Looks at what is in a pipe, and takes it out later: for whoever may be killed in between."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        enlarge_pipe(self._writing)
        self._null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)

    def look(self, fd: int) -> bytes:
        """What is first in pipe *fd*, which stays there. Raises: OSError, as a read would."""
        return os.read(self._reading, READ_BYTES) if tee(fd, self._writing, READ_BYTES) else b""

    def take(self, fd: int, size: int) -> None:
        """Take *size* bytes that were looked at out of *fd*."""
        while size > 0:
            size -= os.splice(fd, self._null, size)


@functools.cache
def shared_peek() -> Peek:
    """One for all pipes: it holds nothing between two calls."""
    return Peek()


class Pump:
    """Reads one descriptor whenever there is something, and passes it on.

    From a pipe of a container (*is_kept*) data is taken only when it has been delivered: an
    engine that is killed in between leaves it to the next one, and that one knows by `skip` what
    has been delivered already.
    """

    def __init__(
        self,
        fd: int,
        stream: Stream,
        deliver: Callable[[Stream, bytes], bool],
        *,
        is_kept: bool = False,
        on_taken: Callable[[int], None] | None = None,
    ) -> None:
        """Takes over *fd*, which must not block. *deliver* returns whether to go on.

        *on_taken* is called with *fd* when what was delivered is no longer in a kept pipe.
        """
        self.fd = fd
        self._on_taken = on_taken
        self._peek = shared_peek() if is_kept else None
        self.stream = stream
        self._deliver = deliver
        self._reading = False
        self._timer: asyncio.TimerHandle | None = None
        self._read_at_s = 0.0
        self._is_large = False

    def start(self) -> None:
        """Begin, or go on after *deliver* said no."""
        if self.fd >= 0 and not self._reading:
            self._reading = True
            asyncio.get_running_loop().add_reader(self.fd, self._readable)

    def pause(self) -> None:
        if self._reading:
            self._reading = False
            asyncio.get_running_loop().remove_reader(self.fd)

    def drain(self) -> None:
        """Pass on everything that is there now, listening to nobody's wish to wait.

        Not more than fits: somebody whom the container left behind may write for ever.
        """
        left_bytes = self._capacity()
        while self.fd >= 0 and left_bytes > 0 and (data := self._read()):
            left_bytes -= len(data)
            self._pass_on(data)

    def skip(self, data: bytes) -> None:
        """Drop *data*, which has been delivered before, if it is what comes first in the pipe."""
        if self._peek is not None and self._read().startswith(data):
            self._peek.take(self.fd, len(data))

    def _capacity(self) -> int:
        try:
            return fcntl.fcntl(self.fd, fcntl.F_GETPIPE_SZ)
        except OSError:
            return TERMINAL_BYTES

    def close(self) -> None:
        self.pause()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _readable(self) -> None:
        data = b""
        for _ in range(READS_PER_TURN):
            data = self._read()
            if not data:
                break
            if not self._pass_on(data):
                self.pause()
                return
        now_s = time.monotonic()
        if now_s - self._read_at_s < BUSY_WITHIN_S and len(data) < READ_BYTES:
            now_s += self._rest()
        self._read_at_s = now_s

    def _rest(self) -> float:
        """Do not read for a while, if what is written meanwhile has room; for how long."""
        if not self._is_large and self._timer is None:
            self._is_large = enlarge_pipe(self.fd)
        if not self._is_large or self._timer is not None:
            return 0.0
        self.pause()
        self._timer = asyncio.get_running_loop().call_later(REST_S, self._after_pause)
        return REST_S

    def _pass_on(self, data: bytes) -> bool:
        go_on = self._deliver(self.stream, data)
        if self._peek is not None and self.fd >= 0:
            self._peek.take(self.fd, len(data))
            if self._on_taken is not None:
                self._on_taken(self.fd)
        return go_on

    def _read(self) -> bytes:
        try:
            if self._peek is not None:
                data = self._peek.look(self.fd)
            else:
                data = os.read(self.fd, READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            # EIO: a terminal whose other side nobody has open.
            if error.errno != errno.EIO:
                log.warning("cannot read a container's output: %s, ignoring", error)
            data = b""
        if not data:
            self.pause()
            loop = asyncio.get_running_loop()
            if self._timer is None:
                self._timer = loop.call_later(HANGUP_RETRY_S, self._after_pause)
        return data

    def _after_pause(self) -> None:
        self._timer = None
        self.start()


class InputWriter:
    """Writes to a pipe or terminal without blocking, in order, up to a bound."""

    def __init__(self, fd: int) -> None:
        """Does not take over *fd*, which must not block."""
        self._fd = fd
        self._buffer = bytearray()
        self._waiters: list[asyncio.Future[None]] = []
        self._closed = False

    async def write(self, data: bytes) -> None:
        """Queue *data*; waits while too much is queued.

        Raises:
            BrokenPipeError: nobody reads any more.
        """
        while len(self._buffer) > MAX_INPUT_BYTES and not self._closed:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        if self._closed:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        was_empty = not self._buffer
        self._buffer += data
        if was_empty:
            self._flush()
            if self._buffer:
                asyncio.get_running_loop().add_writer(self._fd, self._flush)

    async def drain(self) -> None:
        """Wait until all is written, or nobody reads."""
        while self._buffer and not self._closed:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def close(self) -> None:
        """Drop what is queued; *fd* stays open."""
        self._closed = True
        self._buffer.clear()
        asyncio.get_running_loop().remove_writer(self._fd)
        self._wake()

    def _flush(self) -> None:
        try:
            written = os.write(self._fd, self._buffer)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        del self._buffer[:written]
        if not self._buffer:
            asyncio.get_running_loop().remove_writer(self._fd)
        self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


def enlarge_pipe(fd: int) -> bool:
    """Let *fd* take `BUSY_PIPE_BYTES` before who writes to it waits; false: it is no pipe."""
    try:
        return fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, BUSY_PIPE_BYTES) >= BUSY_PIPE_BYTES
    except OSError:
        return False


def set_terminal_size(fd: int, height: int, width: int) -> None:
    """TIOCSWINSZ; the processes on the terminal get SIGWINCH.

    Raises:
        OSError: not a terminal.
    """
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))


def open_output_fifo(path: Path) -> tuple[int, int]:
    """Make the named pipe if needed; our end, which does not block, and the container's."""
    try:
        os.mkfifo(path, 0o600)
    except FileExistsError:
        pass
    ours = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return ours, os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        os.close(ours)
        raise


def open_input_fifo(path: Path) -> tuple[int, int]:
    """As `open_output_fifo` for input; closing our end is the container's end-of-file."""
    try:
        os.mkfifo(path, 0o600)
    except FileExistsError:
        pass
    theirs = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        ours = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        os.close(theirs)
        raise
    os.set_blocking(theirs, True)
    return ours, theirs
