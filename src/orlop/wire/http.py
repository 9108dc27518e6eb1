"""The server side of HTTP/1.1 without I/O: bytes in, events out; responses as bytes.

What an API server needs and no more: requests one after the other on a connection, bodies of known
length or in chunks, `Expect: 100-continue`, and leaving HTTP for a raw stream. Stricter than the
specification where leniency helps nobody but smugglers: no folded headers, no `Transfer-Encoding`
other than `chunked`, none beside a `Content-Length`.

Bounds: the head of a request has at most `MAX_HEAD_BYTES`, a chunk's size line and the trailers
`MAX_LINE_BYTES`; bodies are handed out piece by piece, and their bound is with whoever collects.

Source: RFC 9112.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_HEAD_BYTES = 256 << 10
"""`docker save` names its images in the target, `docker build` has all credentials in a field."""

MAX_LINE_BYTES = 32 << 10

type Headers = Sequence[tuple[str, str]]

REASONS = {
    101: "UPGRADED",
    200: "OK",
    201: "Created",
    202: "Accepted",
    204: "No Content",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    413: "Payload Too Large",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}

_BODILESS = frozenset({204, 304})
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LINE_END = re.compile(rb"\r?\n")
_REQUEST_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) HTTP/(\d)\.(\d)")
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")
_LENGTH = re.compile(r"[0-9]{1,18}")


class BadRequest(Exception):
    """The peer does not speak HTTP/1.1 as we do. *status* is the answer it deserves."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class RequestHead:
    """Method, target and headers; header names are in lower case, repeated ones joined by commas.

    *minor* is the second number of the version, 1.0 or 1.1.
    """

    method: str
    target: str
    headers: dict[str, str]
    minor: int = 1

    @property
    def wants_upgrade(self) -> bool:
        """Whether the client asks to leave HTTP: for dockerd the `Upgrade` field says it alone."""
        words = _words(self.headers.get("connection", ""))
        return "upgrade" in words or "upgrade" in self.headers

    @property
    def keeps_alive(self) -> bool:
        """Whether the client may send another request on the connection."""
        words = _words(self.headers.get("connection", ""))
        return "close" not in words and (self.minor == 1 or "keep-alive" in words)


@dataclass(frozen=True, slots=True)
class BodyPart:
    """Some bytes of the request's body."""

    data: bytes


class Signal(Enum):
    """Events without content."""

    NEED_DATA = auto()
    """Nothing more until `feed`."""
    END_OF_MESSAGE = auto()
    """The request is complete."""
    PAUSED = auto()
    """The next request may be there; answer this one and call `next_request` first."""
    CLOSED = auto()
    """The peer will send nothing more."""


type Event = RequestHead | BodyPart | Signal


class _Reading(Enum):
    """What comes next from the peer."""

    HEAD = auto()
    BODY = auto()
    CHUNK_SIZE = auto()
    CHUNK = auto()
    CHUNK_END = auto()
    TRAILERS = auto()
    END = auto()
    NEXT = auto()


class _Sending(Enum):
    """Where our response is."""

    NOTHING = auto()
    LENGTH = auto()
    CHUNKS = auto()
    UNTIL_CLOSE = auto()
    NO_BODY = auto()
    DONE = auto()


class ServerConnection:
    """One connection, any number of requests one after the other."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._ended = False
        self._reading = _Reading.HEAD
        self._sending = _Sending.NOTHING
        self._left = 0
        self._head: RequestHead | None = None
        self._awaits_continue = False
        self._keep = True

    def feed(self, data: bytes) -> None:
        """Take what was received; empty is the end of file."""
        if not data:
            self._ended = True
        elif self._ended:
            raise BadRequest("data after the end")
        else:
            self._buffer += data

    def next_event(self) -> Event:
        """The next event of what was fed.

        Raises:
            BadRequest: the connection cannot be used further than one error response.
        """
        while True:
            match self._reading:
                case _Reading.HEAD:
                    event = self._read_head()
                case _Reading.BODY:
                    event = self._read_part(_Reading.END)
                case _Reading.CHUNK:
                    event = self._read_part(_Reading.CHUNK_END)
                case _Reading.END:
                    self._reading = _Reading.NEXT
                    return Signal.END_OF_MESSAGE
                case _Reading.NEXT:
                    if self._buffer:
                        return Signal.PAUSED
                    return Signal.CLOSED if self._ended else Signal.NEED_DATA
                case _:
                    event = self._read_line()
            if event is not None:
                return event

    def hand_over_body(self) -> tuple[str, int, bytes]:
        """Let somebody else read the body, none of which has been: how it is framed.

        `length` with the number of bytes that are left, `chunks`, or `none`; and what of it was
        received already. The connection ends with this request, as nobody here knows where the
        body does.
        """
        framing = "none"
        if self._reading is _Reading.BODY:
            framing = "length"
        elif self._reading is _Reading.CHUNK_SIZE:
            framing = "chunks"
        left, buffered = max(self._left, 0), bytes(self._buffer)
        self._buffer.clear()
        self._reading = _Reading.END
        self._awaits_continue = False
        self._keep = False
        return framing, left, buffered

    def _read_head(self) -> Event | None:
        while self._buffer.startswith((b"\r\n", b"\n")):
            # An empty line before a request is no reason to be strict.
            del self._buffer[: 1 + self._buffer.startswith(b"\r")]
        end = _HEAD_END.search(self._buffer, max(self._searched - 3, 0))
        if (end.start() if end else len(self._buffer)) > MAX_HEAD_BYTES:
            raise BadRequest("the head of the request is too large", 431)
        if end is None:
            self._searched = len(self._buffer)
            return self._incomplete(Signal.CLOSED)
        text = self._buffer[: end.start()].decode("latin-1")
        del self._buffer[: end.end()]
        self._searched = 0
        head = parse_head(text)
        self._begin(head)
        return head

    def _begin(self, head: RequestHead) -> None:
        self._head = head
        self._keep = head.keeps_alive
        self._left = _body_length(head)
        if self._left < 0:
            self._reading = _Reading.CHUNK_SIZE
        else:
            self._reading = _Reading.BODY if self._left else _Reading.END
        expected = head.headers.get("expect", "").lower() == "100-continue"
        self._awaits_continue = expected and head.minor == 1 and self._reading is not _Reading.END

    def _read_part(self, after: _Reading) -> Event | None:
        if not self._buffer:
            return self._incomplete()
        self._awaits_continue = False
        if len(self._buffer) <= self._left:
            data = bytes(self._buffer)
            self._buffer.clear()
        else:
            data = bytes(self._buffer[: self._left])
            del self._buffer[: self._left]
        self._left -= len(data)
        if not self._left:
            self._reading = after
        return BodyPart(data)

    def _read_line(self) -> Event | None:
        """A line between the data of chunks."""
        end = _LINE_END.search(self._buffer)
        if (end.start() if end else len(self._buffer)) > MAX_LINE_BYTES:
            raise BadRequest("a line of the body's framing is too long")
        if end is None:
            return self._incomplete()
        line = bytes(self._buffer[: end.start()])
        del self._buffer[: end.end()]
        self._awaits_continue = False
        if self._reading is _Reading.CHUNK_SIZE:
            match = _CHUNK_SIZE.fullmatch(line)
            if match is None:
                raise BadRequest("a chunk without a size")
            self._left = int(match[1], 16)
            self._reading = _Reading.CHUNK if self._left else _Reading.TRAILERS
            # From here on it counts what trailers there are.
            self._searched = 0
        elif self._reading is _Reading.CHUNK_END:
            if line:
                raise BadRequest("a chunk is longer than its size")
            self._reading = _Reading.CHUNK_SIZE
        elif line:
            self._searched += len(line)
            if self._searched > MAX_LINE_BYTES:
                raise BadRequest("the trailers are too large", 431)
        else:
            self._searched = 0
            self._reading = _Reading.END
        return None

    def _incomplete(self, at_end: Signal | None = None) -> Event:
        if not self._ended:
            return Signal.NEED_DATA
        if at_end is None or self._buffer:
            raise BadRequest("the connection ended within a request")
        return at_end

    @property
    def ended(self) -> bool:
        """Whether the peer will send nothing more than what is here."""
        return self._ended

    @property
    def keeps_alive(self) -> bool:
        """Whether another request may follow the present one."""
        return self._keep

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for `100 Continue` before it sends the body."""
        return self._awaits_continue and self._sending is _Sending.NOTHING

    def continue_(self) -> bytes:
        """The interim response it waits for."""
        self._awaits_continue = False
        return b"HTTP/1.1 100 Continue\r\n\r\n"

    def head(self, status: int, headers: Headers) -> bytes:
        """Status line and headers. Without a content-length the body is chunked."""
        if self._awaits_continue:
            # It may send the body or not: what comes next on the connection cannot be told.
            self._keep = False
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, '')}"]
        has_length = False
        for name, value in headers:
            lines.append(f"{name}: {value}")
            has_length = has_length or name.lower() == "content-length"
            if name.lower() == "connection" and value.lower() == "close":
                self._keep = False
        told_to_close = not self._keep and "Connection: close" not in lines
        head = self._head
        if status in _BODILESS or (head is not None and head.method == "HEAD"):
            self._sending = _Sending.NO_BODY
        elif has_length:
            self._sending = _Sending.LENGTH
        elif head is None or head.minor == 1:
            self._sending = _Sending.CHUNKS
            lines.append("Transfer-Encoding: chunked")
        else:
            self._sending = _Sending.UNTIL_CLOSE
            told_to_close = told_to_close or self._keep
            self._keep = False
        if told_to_close:
            lines.append("Connection: close")
        return "\r\n".join([*lines, "\r\n"]).encode("latin-1")

    def data(self, data: bytes) -> bytes:
        """A piece of the body as it goes over the wire."""
        if self._sending is _Sending.CHUNKS:
            return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        return b"" if self._sending is _Sending.NO_BODY else data

    def around(self, size: int) -> tuple[bytes, bytes]:
        """What goes before and after *size* bytes of the body that somebody else sends."""
        if self._sending is _Sending.CHUNKS:
            return b"%x\r\n" % size, b"\r\n"
        return b"", b""

    def end(self) -> bytes:
        """What ends the body."""
        chunked = self._sending is _Sending.CHUNKS
        self._sending = _Sending.DONE
        return b"0\r\n\r\n" if chunked else b""

    def next_request(self) -> bool:
        """After a whole exchange: make ready for the next; false if the connection must close."""
        if not (self._keep and self._reading is _Reading.NEXT and self._sending is _Sending.DONE):
            return False
        self._reading, self._sending = _Reading.HEAD, _Sending.NOTHING
        self._head = None
        return True

    def leave(self) -> bytes:
        """Stop speaking HTTP: returns what was received beyond the request."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest


def parse_head(text: str) -> RequestHead:
    """The lines of a request's head, without the empty one that ends it.

    Raises:
        BadRequest: any of them is malformed, or what must be there is missing.
    """
    lines = text.split("\n")
    match = _REQUEST_LINE.fullmatch(lines[0].removesuffix("\r"))
    if match is None:
        raise BadRequest("no request line of HTTP")
    if match[3] != "1":
        raise BadRequest(f"HTTP/{match[3]}.{match[4]} is not spoken here", 505)
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.removesuffix("\r").partition(":")
        if not colon or _FIELD_NAME.fullmatch(name) is None:
            raise BadRequest("a header without a name")
        value = value.strip(" \t")
        if _CONTROL.search(value):
            raise BadRequest("a header with control characters")
        key = name.lower()
        if key in headers:
            if key in ("host", "content-length") and headers[key] != value:
                raise BadRequest(f"two different headers {key}")
            value = value if key in ("host", "content-length") else f"{headers[key]}, {value}"
        headers[key] = value
    minor = min(int(match[4]), 1)
    if minor == 1 and "host" not in headers:
        raise BadRequest("missing required Host header")
    return RequestHead(match[1], match[2], headers, minor)


def _body_length(head: RequestHead) -> int:
    """How long the body is; -1: it comes in chunks."""
    encoding = head.headers.get("transfer-encoding")
    length = head.headers.get("content-length")
    if encoding is not None:
        if encoding.lower() != "chunked":
            raise BadRequest(f"transfer encoding {encoding[:40]!r} is not understood", 501)
        if length is not None or head.minor == 0:
            raise BadRequest("a chunked body with a length")
        return -1
    if length is None:
        return 0
    if _LENGTH.fullmatch(length) is None:
        raise BadRequest("the length of the body is no number")
    return int(length)


def _words(value: str) -> list[str]:
    return [word.strip() for word in value.lower().split(",")] if value else []
