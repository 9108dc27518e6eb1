"""A WebSocket on a hijacked connection, which looks like the connection's bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.wire import websocket
from orlop.wire.websocket import Opcode

if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop.engine.api.connection import RawStream
    from orlop.engine.api.exchange import Exchange

VERSION = "13"


async def accept(exchange: Exchange) -> WebSocketStream:
    """Answer the opening handshake.

    Raises:
        InvalidArgument: the request is none.
    """
    headers = exchange.headers
    key = headers.get("sec-websocket-key", "")
    if headers.get("upgrade", "").lower() != "websocket" or not key:
        raise InvalidArgument("this is for WebSocket clients: Upgrade and its key are missing")
    if headers.get("sec-websocket-version") != VERSION:
        raise InvalidArgument(f"WebSocket version {VERSION} is spoken here")
    accepted = ("Sec-WebSocket-Accept", websocket.accept_key(key))
    raw = await exchange.hijack("application/octet-stream", [accepted])
    return WebSocketStream(raw)


class WebSocketStream:
    """See the module. Answers pings and closes by itself."""

    def __init__(self, raw: RawStream) -> None:
        self._raw = raw
        self._decoder = websocket.Decoder()
        self._pending: list[bytes] = []
        self._closed = False

    @property
    def on_drain(self) -> Callable[[], None]:
        return self._raw.on_drain

    @on_drain.setter
    def on_drain(self, callback: Callable[[], None]) -> None:
        self._raw.on_drain = callback

    @property
    def on_lost(self) -> Callable[[], None]:
        return self._raw.on_lost

    @on_lost.setter
    def on_lost(self, callback: Callable[[], None]) -> None:
        self._raw.on_lost = callback

    async def read(self) -> bytes:
        """Some input; empty at its end, which is also a client that breaks the rules."""
        while not self._pending:
            data = await self._raw.read()
            if not data or self._closed:
                return b""
            try:
                self._take(self._decoder.feed(data))
            except websocket.ProtocolError as error:
                self._end(error.code)
                return b""
        return self._pending.pop(0)

    def write(self, data: bytes) -> bool:
        """As `RawStream.write`."""
        return self._closed or self._raw.write(websocket.encode(Opcode.BINARY, data))

    async def close(self) -> None:
        """Say that it is over, and close."""
        self._end(1000)
        await self._raw.close()

    def _take(self, messages: list[websocket.Message]) -> None:
        for message in messages:
            match message.opcode:
                case Opcode.PING:
                    self._raw.write(websocket.encode(Opcode.PONG, message.data))
                case Opcode.CLOSE:
                    self._end(1000)
                    self._raw.feed_eof()
                case Opcode.TEXT | Opcode.BINARY:
                    if message.data:
                        self._pending.append(message.data)
                case Opcode.PONG | Opcode.CONTINUATION:
                    pass

    def _end(self, code: int) -> None:
        if not self._closed:
            self._raw.write(websocket.encode_close(code))
            self._closed = True
