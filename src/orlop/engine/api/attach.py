"""A client on the streams of a container or exec: the hijacked connection's two directions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from orlop.engine.api.exchange import MULTIPLEXED_STREAM, RAW_STREAM
from orlop.wire import stdcopy
from orlop.wire.detach_keys import DetachScanner

if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop.engine.container.streams import Fanout
    from orlop.wire.stdcopy import Stream


class ByteStream(Protocol):
    """The client's end: a hijacked connection, or a WebSocket on one."""

    on_drain: Callable[[], None]
    on_lost: Callable[[], None]

    async def read(self) -> bytes: ...

    def write(self, data: bytes) -> bool: ...

    async def close(self) -> None: ...


class InputSink(Protocol):
    """Where the client's input goes."""

    async def write_input(self, data: bytes) -> None: ...

    async def close_input(self) -> None: ...


def stream_type(terminal: bool, api_version: tuple[int, int]) -> str:
    """The content type that says whether stdout and stderr come in frames; since 1.42."""
    return RAW_STREAM if terminal or api_version < (1, 42) else MULTIPLEXED_STREAM


class Attachment:
    """Listens to *fanout* on behalf of the client at the other end of *raw*."""

    def __init__(
        self, raw: ByteStream, fanout: Fanout, wanted: frozenset[Stream], *, framed: bool
    ) -> None:
        self._raw = raw
        self._fanout = fanout
        self._wanted = wanted
        self._framed = framed
        self._finished = asyncio.Event()
        self.detached = False
        raw.on_drain = self._drained
        raw.on_lost = self.finish

    def begin(self) -> None:
        """Output from now on goes to the client."""
        self._fanout.add(self)

    def end(self) -> None:
        """No more; may be called twice."""
        self._fanout.discard(self)

    async def run(self, sink: InputSink | None, keys: bytes, *, close_sink: bool) -> None:
        """Pass input to *sink* until the output ends, the client leaves or types *keys*.

        With *close_sink* the end of the client's input is the end of the sink's.
        """
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._read(sink, keys, close_sink=close_sink))
            await self._finished.wait()
            reading.cancel()

    def deliver(self, stream: Stream, data: bytes) -> bool:
        """Called for each piece of output."""
        if stream not in self._wanted:
            return True
        return self._raw.write(stdcopy.encode(stream, data) if self._framed else data)

    def finish(self) -> None:
        """The output has ended, or the client is gone or too slow."""
        self._finished.set()

    async def _read(self, sink: InputSink | None, keys: bytes, *, close_sink: bool) -> None:
        scanner = DetachScanner(keys) if keys else None
        try:
            while data := await self._raw.read():
                found = False
                if scanner is not None:
                    data, found = scanner.feed(data)
                if data and sink is not None:
                    await sink.write_input(data)
                if found:
                    self.detached = True
                    self._finished.set()
                    return
            if sink is not None and close_sink:
                await sink.close_input()
        except BrokenPipeError:
            # Nobody reads it any more; the output may still go on.
            return

    def _drained(self) -> None:
        self._fanout.resume(self)
