"""One request and its response, as a handler sees it."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import parse_qs, unquote

from orlop.lib.errors import InvalidArgument, ResourceExhausted
from orlop.wire.docker.body import JSON_TYPE, check_type, parse_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from orlop.engine.api.connection import Connection, RawStream
    from orlop.wire.http import Headers, RequestHead

MAX_BODY_BYTES = 4 << 20
BODY_TIMEOUT_S = 300.0
"""For one that is kept in memory: who sends a byte a minute is nobody's client."""

"""For JSON bodies; the largest one a client sends, a create request, has a few kilobytes."""

MAX_QUERY_FIELDS = 2000

RAW_STREAM = "application/vnd.docker.raw-stream"
MULTIPLEXED_STREAM = "application/vnd.docker.multiplexed-stream"

_ABSOLUTE = re.compile(r"^https?://[^/?#]*", re.IGNORECASE)

_FALSE = frozenset({"", "0", "no", "false", "none"})
"""Everything else is true: what dockerd's clients rely on."""


_encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def encode_json(value: object) -> bytes:
    """*value* as answers have it."""
    return _encoder.encode(value).encode()


class Exchange:
    """Made by the server for each request. A handler answers exactly once."""

    def __init__(self, connection: Connection, head: RequestHead) -> None:
        # What is asked of a proxy names the scheme and the host, too.
        path, _, query = _ABSOLUTE.sub("", head.target, count=1).partition("?")
        self.method = head.method
        self.path = unquote(path)
        self.headers = head.headers
        self.parameters: dict[str, str] = {}
        """What the route's `{name}` parts matched."""
        self.api_version: tuple[int, int] = (1, 47)
        self.responded = False
        self.upgraded = False
        self._head = head
        self._connection = connection
        self.query: dict[str, list[str]] = {}
        if not query:
            return
        try:
            self.query = parse_qs(query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
        except ValueError as error:
            raise InvalidArgument(f"query: {error}") from error

    def text(self, key: str, default: str = "") -> str:
        """A query parameter; of several, the first, as Go's servers have it."""
        return self.query.get(key, [default])[0]

    def flag(self, key: str, *, default: bool = False) -> bool:
        """A query parameter that is there and not `0`, `false`, `no`, `none` or empty."""
        if key not in self.query:
            return default
        return self.text(key).strip().lower() not in _FALSE

    def integer(self, key: str) -> int | None:
        """A query parameter that is a whole number.

        Raises:
            InvalidArgument: it is something else.
        """
        text = self.text(key)
        if not text:
            return None
        try:
            return int(text)
        except ValueError:
            raise InvalidArgument(f"{key}: {text[:40]!r} is not a number") from None

    async def body(self) -> bytes:
        """The whole body.

        Raises:
            ResourceExhausted: above `MAX_BODY_BYTES`.
            TimeoutError: it trickles.
        """
        data = bytearray()
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for part in self._connection.body_parts():
                if len(data) + len(part) > MAX_BODY_BYTES:
                    raise ResourceExhausted(f"the body is larger than {MAX_BODY_BYTES} bytes")
                data += part
        return bytes(data)

    def body_parts(self) -> AsyncIterator[bytes]:
        """The body in pieces as they come, of any length altogether."""
        return self._connection.body_parts()

    def hand_over_body(self) -> tuple[int, str, int, bytes] | None:
        """The body's socket for somebody else to read; see `Connection.hand_over_body`."""
        return self._connection.hand_over_body()

    async def json(self) -> dict[str, Any]:
        """The body as a JSON object; an absent body is an empty one.

        Raises:
            InvalidArgument: it is not one, or is not said to be JSON.
        """
        data = await self.body()
        content_type = self.headers.get("content-type", "")
        if data or content_type:
            check_type(content_type)
        return parse_json(data) if data.strip() else {}

    async def respond_json(self, status: int, value: object) -> None:
        """Answer with *value*."""
        await self.respond_bytes(status, encode_json(value) + b"\n", JSON_TYPE)

    async def respond_bytes(
        self, status: int, data: bytes, content_type: str, more_headers: Headers = ()
    ) -> None:
        """Answer with *data*."""
        headers = [("Content-Type", content_type), ("Content-Length", str(len(data)))]
        headers += more_headers
        self.responded = True
        await self._connection.respond(status, headers, data)

    async def respond_empty(self, status: int = 204) -> None:
        """Answer without a body."""
        headers = [] if status in (204, 304) else [("Content-Length", "0")]
        self.responded = True
        await self._connection.respond(status, headers, b"")

    def cancel_on_disconnect(self) -> None:
        """From now on the handler is cancelled when the client goes away."""
        self._connection.cancel_on_disconnect()

    async def begin_stream(
        self, content_type: str, status: int = 200, more_headers: Headers = ()
    ) -> None:
        """Answer with a body of unknown length; then `write` and `end`.

        From now on the handler is cancelled when the client goes away.
        """
        self.responded = True
        self._connection.cancel_on_disconnect()
        await self._connection.send_head(status, [("Content-Type", content_type), *more_headers])

    async def begin_sized_stream(self, content_type: str, size: int) -> None:
        """As `begin_stream`, for a body of exactly *size* bytes."""
        self.responded = True
        self._connection.cancel_on_disconnect()
        headers = [("Content-Type", content_type), ("Content-Length", str(size))]
        await self._connection.send_head(200, headers)

    async def write_file(self, file: BinaryIO, size: int) -> None:
        """The first *size* bytes of *file* as a piece of the body, without reading them here."""
        await self._connection.send_file(file, size)

    async def write(self, data: bytes) -> None:
        """A piece of the body, sent at once; waits while the client is behind."""
        if data:
            await self._connection.send_data(data)

    async def end(self) -> None:
        """The body is complete."""
        await self._connection.send_end()

    async def write_json(self, value: object) -> None:
        """A line of JSON in a stream."""
        await self.write(json.dumps(value, separators=(",", ":")).encode() + b"\n")

    async def hijack(self, content_type: str = RAW_STREAM, more_headers: Headers = ()) -> RawStream:
        """Take the connection out of HTTP: bytes in both directions.

        The client is told with 101 if it asked to upgrade, else with 200 and no length.
        """
        self.responded = True
        return await self._connection.hijack(self._head, content_type, more_headers)
