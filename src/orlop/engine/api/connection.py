"""One client's connection: HTTP exchanges one after the other, or raw bytes after a hijack.

Everything a client can make grow has a bound: the head of a request (`wire.http`), unread input,
output the client does not take, and the time it may be idle between requests.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import select
import termios
from collections import deque
from typing import TYPE_CHECKING, BinaryIO

from orlop.wire import http

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from orlop.engine.api.hangup import HangupWatch
    from orlop.wire.http import Headers, RequestHead

log = logging.getLogger(__name__)

IDLE_TIMEOUT_S = 120.0
"""Between requests, and for the rest of a request that has begun."""

MAX_UNREAD_BYTES = 256 << 10
"""Input not yet asked for, above which we stop reading."""

ABANDONED_S = 10.0
"""How long the reader of a body may go on when the client is gone: what was sent is still there."""

SETTLE_DELAYS_S = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02)

MAX_SKIPPED_BYTES = 1 << 20
"""Of a body that its handler did not want; a longer one ends the connection."""

LINGER_S = 5.0
"""For a client to read an answer that came before all of its body was read."""

WRITE_HIGH_WATER_BYTES = 256 << 10
"""Output not yet taken, above which writers wait."""


FILE_PIECE_BYTES = 4 << 20
FILE_PIECE_TIMEOUT_S = 600.0
"""A client must take so much of a file in that time."""


class RawStream:
    """The connection after a hijack: bytes both ways, each end closable by itself."""

    def __init__(self, connection: Connection, first: bytes) -> None:
        self._connection = connection
        self._received: deque[bytes] = deque([first] if first else [])
        self._unread_bytes = len(first)
        self._eof = False
        self._wake = asyncio.Event()
        self.on_drain: Callable[[], None] = lambda: None
        """Called when the client has taken what had piled up."""
        self.on_lost: Callable[[], None] = lambda: None

    async def read(self) -> bytes:
        """Some input; empty at its end."""
        while not self._received:
            if self._eof:
                return b""
            self._wake.clear()
            await self._wake.wait()
        data = self._received.popleft()
        self._unread_bytes -= len(data)
        if self._unread_bytes < MAX_UNREAD_BYTES:
            self._connection.resume_reading()
        return data

    def write(self, data: bytes) -> bool:
        """Send *data*; false when the client is behind, see `on_drain`."""
        return self._connection.write_raw(data)

    async def settle(self) -> None:
        """Give the client a moment to read the head of the response, before anything follows.

        The Python SDK reads the head through a buffer and what follows from the socket itself: what
        came with the head is lost to it.
        """
        for delay_s in SETTLE_DELAYS_S:
            if not self._connection.has_unread_output():
                return
            await asyncio.sleep(delay_s)

    async def close(self) -> None:
        """End the connection when what was written has been taken, or the client is gone."""
        await self._connection.drain()
        self._connection.close()

    def feed(self, data: bytes) -> None:
        """Called by the connection."""
        self._received.append(data)
        self._unread_bytes += len(data)
        if self._unread_bytes >= MAX_UNREAD_BYTES:
            self._connection.pause_reading()
        self._wake.set()

    def feed_eof(self) -> None:
        """Called by the connection."""
        self._eof = True
        self._wake.set()


class Connection(asyncio.Protocol):
    """Made for each client by `ApiServer`. *serve* answers one request."""

    def __init__(
        self,
        serve: Callable[[Connection, RequestHead], Awaitable[None]],
        opened: Callable[[Connection], bool],
        closed: Callable[[Connection], None],
        common_headers: Headers,
        hangups: HangupWatch,
    ) -> None:
        self._serve = serve
        self._opened = opened
        self._closed = closed
        self._common_headers = common_headers
        self._hangups = hangups
        self._http = http.ServerConnection()
        self._transport: asyncio.Transport | None = None
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._raw: RawStream | None = None
        self._unread_bytes = 0
        self._disconnected = False
        self._cancel_when_gone = False
        self._serving = False
        self._body_done = True
        self._body_handed_over = False
        self._left: asyncio.Event | None = None
        self._reading_paused = False
        self.silent_since_s: float | None = None
        """On the loop's clock, while the client is waited for: for a request, or more of one."""
        self.task: asyncio.Task[None] | None = None

    # asyncio calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES)
        if not self._opened(self):
            data = self._http.head(503, [("Content-Length", "0"), ("Connection", "close")])
            transport.write(data)
            transport.close()

    def data_received(self, data: bytes) -> None:
        if self._left is not None:
            return
        if self._raw is not None:
            self._raw.feed(data)
            return
        self._feed(data)
        self._unread_bytes += len(data)
        if self._unread_bytes > MAX_UNREAD_BYTES:
            self.pause_reading()

    def eof_received(self) -> bool:
        if self._left is not None:
            self._left.set()
            return False
        if self._raw is not None:
            self._raw.feed_eof()
        else:
            self._feed(b"")
        # Stay open for writing: the peer may have closed only its half. The transport does not
        # look at the socket any more; what tells that the rest is closed too is a hang-up.
        if self._transport is not None:
            self._hangups.watch(self._transport.get_extra_info("socket").fileno(), self.abort)
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._disconnected = True
        self._writable.set()
        if self._left is not None:
            self._left.set()
        if self._raw is not None:
            self._raw.feed_eof()
            self._raw.on_lost()
            self._closed(self)
            return
        if self._serving and not self._cancel_when_gone:
            # What was begun is carried through. A handler that still reads the body sees its end.
            self._feed(b"")
            return
        self._cancel_when_gone = True
        self._gone()
        self._closed(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()
        if self._raw is not None:
            self._raw.on_drain()

    # The server and exchanges call these.

    @property
    def is_idle(self) -> bool:
        """Whether there is no whole request that anybody works at."""
        return not self._serving and self._raw is None

    async def run(self) -> None:
        """Answer requests until the client leaves or breaks the rules."""
        try:
            while (head := await self._next_head()) is not None:
                self._cancel_when_gone = False
                self._serving = True
                await self._serve(self, head)
                self._serving = False
                if self._raw is not None or self._disconnected:
                    return
                # Also when nothing follows: a client that still writes would not see the answer.
                if not await self._skip_body() or not self._http.keeps_alive:
                    if self._body_handed_over or not self._body_done:
                        await self._linger()
                    return
                if not self._http.next_request():
                    return
        except http.BadRequest as error:
            await self._refuse(error)
        except (TimeoutError, ConnectionError):
            return
        finally:
            # Also after an error: what is lost from now on is nobody's request.
            self._serving = False
            self.close()
            if self._disconnected:
                self._closed(self)

    async def body_parts(self) -> AsyncIterator[bytes]:
        """The rest of the present request's body, in pieces."""
        if self._body_done:
            return
        if self._http.expects_continue:
            self._write(self._http.continue_())
        while True:
            event = await self._next_event()
            if not isinstance(event, http.BodyPart):
                self._body_done = True
                return
            yield event.data

    async def respond(self, status: int, headers: Headers, data: bytes) -> None:
        """A whole response in one write; *headers* has its length."""
        head = self._http.head(status, [*self._common_headers, *headers])
        self._write(head + self._http.data(data) + self._http.end())
        if not self._writable.is_set():
            await self._writable.wait()

    def hand_over_body(self) -> tuple[int, str, int, bytes] | None:
        """The socket, and what `http.ServerConnection.hand_over_body` says; None: it is encrypted.

        Nothing more is read here, so that a client who leaves is noticed by who reads. Should that
        one be stuck, the request ends when the client has been gone for `ABANDONED_S`.
        """
        if self._transport is None or self._transport.get_extra_info("sslcontext") is not None:
            return None
        self.pause_reading()
        if self._http.expects_continue:
            self._write(self._http.continue_())
        framing, left, buffered = self._http.hand_over_body()
        self._body_done = self._body_handed_over = True
        descriptor: int = self._transport.get_extra_info("socket").fileno()
        self._hangups.watch(descriptor, self._abandoned)
        return descriptor, framing, left, buffered

    def _abandoned(self) -> None:
        asyncio.get_running_loop().call_later(ABANDONED_S, self._give_up)

    def _give_up(self) -> None:
        if self._transport is None or not self._serving or self.task is None:
            return
        # The number may be another socket's that has hung up, of which somebody had a copy.
        look = select.poll()
        look.register(self._transport.get_extra_info("socket").fileno(), 0)
        if look.poll(0):
            self.task.cancel()

    async def send_head(self, status: int, headers: Headers) -> None:
        self._write(self._http.head(status, [*self._common_headers, *headers]))

    async def send_data(self, data: bytes) -> None:
        self._write(self._http.data(data))
        await self._writable.wait()
        if self._disconnected:
            raise ConnectionResetError

    async def send_file(self, file: BinaryIO, size: int) -> None:
        """The first *size* bytes of *file* as a part of the body; the kernel copies them."""
        loop = asyncio.get_running_loop()
        sent = 0
        while sent < size:
            if self._transport is None or self._disconnected:
                raise ConnectionResetError
            count = min(size - sent, FILE_PIECE_BYTES)
            before, after = self._http.around(count)
            self._write(before)
            async with asyncio.timeout(FILE_PIECE_TIMEOUT_S):
                await loop.sendfile(self._transport, file, sent, count)
            self._write(after)
            sent += count

    async def send_end(self) -> None:
        self._write(self._http.end())

    async def hijack(
        self, head: RequestHead, content_type: str, more_headers: Headers = ()
    ) -> RawStream:
        """See `Exchange.hijack`."""
        async for _ in self.body_parts():
            pass
        status, upgrade = ("200 OK", "")
        if head.wants_upgrade:
            protocol = head.headers.get("upgrade", "tcp")
            status = f"101 {http.REASONS[101]}"
            upgrade = f"Connection: Upgrade\r\nUpgrade: {protocol}\r\n"
        fields = "".join(
            f"{key}: {value}\r\n" for key, value in (*self._common_headers, *more_headers)
        )
        text = f"HTTP/1.1 {status}\r\n{fields}Content-Type: {content_type}\r\n{upgrade}\r\n"
        self._write(text.encode("latin-1"))
        self._raw = RawStream(self, self._http.leave())
        self._unread_bytes = 0
        self.resume_reading()
        if self._disconnected or self._http.ended:
            self._raw.feed_eof()
        return self._raw

    def has_unread_output(self) -> bool:
        """Whether the client has not read yet what was written."""
        if self._transport is None or self._disconnected:
            return False
        unread = bytearray(4)
        try:
            fcntl.ioctl(self._transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, unread)
        except OSError:
            return False
        return any(unread)

    def cancel_on_disconnect(self) -> None:
        """The present request is one that waits: it ends with the client."""
        self._cancel_when_gone = True
        if self._disconnected:
            self._gone()

    def write_raw(self, data: bytes) -> bool:
        self._write(data)
        return self._writable.is_set()

    async def drain(self) -> None:
        """Wait until the client has taken nearly all."""
        async with asyncio.timeout(IDLE_TIMEOUT_S):
            await self._writable.wait()

    def pause_reading(self) -> None:
        if self._transport is not None and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None and self._reading_paused and not self._disconnected:
            self._reading_paused = False
            self._transport.resume_reading()

    def close(self) -> None:
        """Close after what was written has gone out."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _feed(self, data: bytes) -> None:
        try:
            self._http.feed(data)
        except http.BadRequest:
            self.abort()
        self._arrived.set()

    def _gone(self) -> None:
        if self._cancel_when_gone and self.task is not None:
            self.task.cancel()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._disconnected and data:
            self._transport.write(data)

    async def _next_event(self) -> http.Event:
        event = self._http.next_event()
        if event is not http.Signal.NEED_DATA:
            return event
        try:
            async with asyncio.timeout(IDLE_TIMEOUT_S):
                while event is http.Signal.NEED_DATA:
                    self.silent_since_s = asyncio.get_running_loop().time()
                    self._unread_bytes = 0
                    self.resume_reading()
                    self._arrived.clear()
                    await self._arrived.wait()
                    event = self._http.next_event()
        finally:
            self.silent_since_s = None
        return event

    async def _skip_body(self) -> bool:
        """Read what the handler left of the body; false when that is too much to be worth it."""
        skipped_bytes = 0
        async for part in self.body_parts():
            skipped_bytes += len(part)
            if skipped_bytes > MAX_SKIPPED_BYTES:
                return False
        return True

    async def _linger(self) -> None:
        """Let the client see the answer before the end.

        It may be sending still, and a socket that is closed with something unread takes back what
        was written to it.
        """
        if self._transport is None or self._disconnected:
            return
        self._left = asyncio.Event()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self.resume_reading()
        async with asyncio.timeout(LINGER_S):
            await self._left.wait()

    async def _next_head(self) -> RequestHead | None:
        event = await self._next_event()
        if not isinstance(event, http.RequestHead):
            return None
        self._body_done = False
        return event

    async def _refuse(self, error: http.BadRequest) -> None:
        body = b'{"message":"bad request"}\n'
        log.debug("a client broke the rules: %s", error)
        try:
            headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
            await self.respond(error.status, [*headers, ("Connection", "close")], body)
        except Exception:  # noqa: BLE001 - too late for an answer: the response had begun
            return
