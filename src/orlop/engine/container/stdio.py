"""The three streams of one container, from before its start to after its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

from orlop.engine.container.streams import (
    Fanout,
    InputWriter,
    Pump,
    open_input_fifo,
    open_output_fifo,
    set_terminal_size,
)
from orlop.wire.stdcopy import Stream

if TYPE_CHECKING:
    from orlop.engine.container.layout import Layout
    from orlop.engine.logs.syslog import SyslogForwarder
    from orlop.engine.logs.writer import LogWriter

NO_FD = -1


class ContainerIO:
    """Opened for each start, closed after each end; `listeners` stay over restarts."""

    def __init__(
        self,
        layout: Layout,
        log_writer: LogWriter,
        *,
        keep: bool = True,
        tap: SyslogForwarder | None = None,
    ) -> None:
        """*keep* false: nothing is written to the log. *tap* gets all output as well."""
        self._layout = layout
        self._log = log_writer
        self._keep = keep
        self._tap = tap
        self.listeners = Fanout(self._resume)
        self._pumps: list[Pump] = []
        self._stdin_fd = NO_FD
        self._master_fd = NO_FD
        self._input: InputWriter | None = None
        self._started = asyncio.Event()

    def open(self, *, terminal: bool, stdin: bool) -> dict[int, int]:
        """Make the pipes; what returns is for the container's process, see `close_theirs`.

        Raises:
            OSError: no space or descriptors. Nothing is left open.
        """
        self.close()
        theirs: dict[int, int] = {}
        if terminal:
            return theirs
        try:
            for stream in (Stream.STDOUT, Stream.STDERR):
                ours, theirs[stream] = open_output_fifo(self._layout.run / stream.name.lower())
                self._pumps.append(
                    Pump(ours, stream, self._deliver, is_kept=True, on_taken=self._mark_taken)
                )
            if stdin:
                self._stdin_fd, theirs[0] = open_input_fifo(self._layout.run / "stdin")
        except OSError:
            close_theirs(theirs)
            self.close()
            raise
        return theirs

    def attach_terminal(self, master_fd: int) -> None:
        """Use *master_fd* for both directions; takes it over."""
        self._master_fd = master_fd
        self._pumps = [Pump(master_fd, Stream.STDOUT, self._deliver)]

    def reopen(self, *, stdin: bool) -> None:
        """The pipes of a container that an earlier engine started."""
        for descriptor in self.open(terminal=False, stdin=stdin).values():
            os.close(descriptor)
        self._skip_logged()

    def _skip_logged(self) -> None:
        """Take out of the pipes what that engine was killed after logging, before taking it.

        That can only be the newest block of the log, if it is later than what was taken last.
        """
        block = self._log.last_block() if self._keep else None
        for pump in self._pumps:
            if (
                block is not None
                and pump.stream is block.stream
                and os.stat(pump.fd).st_atime_ns < block.time_ns
            ):
                pump.skip(block.payload)
                os.utime(pump.fd, ns=(block.time_ns, block.time_ns))

    def _mark_taken(self, fd: int) -> None:
        """Keep in the pipe's inode, which outlives the engine, when what was taken was logged.

        The time of access is nobody else's: output is never read from the pipe, only spliced.
        """
        if self._keep and self._log.last_ns:
            os.utime(fd, ns=(self._log.last_ns, self._log.last_ns))

    def adopt_stdin(self, descriptor: int) -> None:
        """Use the writing end that was kept over `execve`."""
        self._close_stdin_fd()
        self._stdin_fd = descriptor

    def start(self) -> None:
        """Begin to move output."""
        for pump in self._pumps:
            pump.start()
        self._started.set()

    def finish(self) -> None:
        """The container has ended: pass on what is left, tell listeners, close."""
        for pump in self._pumps:
            pump.drain()
        self.close()
        self.listeners.finish()
        if self._tap is not None:
            self._tap.finish()
        self._log.close()
        self._log.wake()

    def close(self) -> None:
        """Let go of all descriptors; pending output stays in the pipes."""
        self._started.clear()
        if self._input is not None:
            self._input.close()
            self._input = None
        for pump in self._pumps:
            pump.close()
        self._pumps = []
        self._master_fd = NO_FD
        self._close_stdin_fd()

    @property
    def accepts_input(self) -> bool:
        return self._master_fd >= 0 or self._stdin_fd >= 0

    async def write_input(self, data: bytes) -> None:
        """Give *data* to its stdin; waits until it is started, and while it does not read.

        Raises:
            BrokenPipeError: it has no stdin, or nobody reads it any more.
        """
        await self._started.wait()
        if self._input is None:
            descriptor = self._master_fd if self._master_fd >= 0 else self._stdin_fd
            if descriptor < 0:
                raise BrokenPipeError
            self._input = InputWriter(descriptor)
        await self._input.write(data)

    async def close_input(self) -> None:
        """End-of-file for the container, after what was written. A terminal has none."""
        await self._started.wait()
        if self._master_fd >= 0 or self._stdin_fd < 0:
            return
        if self._input is not None:
            await self._input.drain()
            if self._input is not None:
                self._input.close()
                self._input = None
        self._close_stdin_fd()

    def resize(self, height: int, width: int) -> None:
        """Tell the terminal its size; without one, nothing."""
        if self._master_fd >= 0:
            with contextlib.suppress(OSError):
                set_terminal_size(self._master_fd, height, width)

    def inheritable(self) -> dict[str, int]:
        """Descriptors that exist only here, made to outlive `execve`, by name."""
        named = {"master": self._master_fd, "stdin": self._stdin_fd}
        kept = {name: fd for name, fd in named.items() if fd >= 0}
        for descriptor in kept.values():
            os.set_inheritable(descriptor, True)
        return kept

    def _deliver(self, stream: Stream, data: bytes) -> bool:
        if self._keep:
            self._log.append(stream, data)
        if self._tap is not None:
            self._tap.append(stream, data)
        return self.listeners.deliver(stream, data)

    def _resume(self) -> None:
        for pump in self._pumps:
            pump.start()

    def _close_stdin_fd(self) -> None:
        if self._stdin_fd >= 0:
            os.close(self._stdin_fd)
            self._stdin_fd = NO_FD


def close_theirs(descriptors: dict[int, int]) -> None:
    """Close our copies of what the container's process has got."""
    for descriptor in descriptors.values():
        os.close(descriptor)
