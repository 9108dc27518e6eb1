"""What a RUN writes, on its way from the container to the client."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orlop.engine.build.output import Output
    from orlop.engine.container.streams import Fanout
    from orlop.wire.stdcopy import Stream

MAX_WAITING_BYTES = 8 << 20
"""Above it the command is held back until the client has taken some."""


class OutputListener:
    """A `streams.Listener` that a task of the build empties into an `Output`."""

    def __init__(self, fanout: Fanout) -> None:
        self._fanout = fanout
        self._waiting: deque[tuple[Stream, bytes]] = deque()
        self._size = 0
        self._finished = False
        self._wake = asyncio.Event()
        fanout.add(self)

    def deliver(self, stream: Stream, data: bytes) -> bool:
        """See `streams.Listener`."""
        self._waiting.append((stream, data))
        self._size += len(data)
        self._wake.set()
        return self._size < MAX_WAITING_BYTES

    def finish(self) -> None:
        """See `streams.Listener`."""
        self._finished = True
        self._wake.set()

    def close(self) -> None:
        """No more is wanted."""
        self._fanout.discard(self)
        self.finish()

    async def pass_on(self, output: Output) -> None:
        """Write everything to *output* until `finish` or `close`."""
        while True:
            while self._waiting:
                stream, data = self._waiting.popleft()
                self._size -= len(data)
                if not self._size:
                    self._fanout.resume(self)
                await output.produced(stream, data)
            if self._finished:
                return
            self._wake.clear()
            await self._wake.wait()
