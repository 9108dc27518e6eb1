"""The server side of HTTP/1.1 without I/O: bytes in, events out; responses as bytes.

h11 does the parsing and watches the order of things; this narrows it to what an API server needs,
in types of ours. Bounds: the head of a request has at most `MAX_HEAD_BYTES`; bodies are handed out
piece by piece, so their bound is with whoever collects them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

import h11

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_HEAD_BYTES = 32 << 10

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
}


class BadRequest(Exception):
    """The peer does not speak HTTP/1.1 as we do. *status* is the answer it deserves."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class RequestHead:
    """Method, target and headers; header names are in lower case."""

    method: str
    target: str
    headers: dict[str, str]

    @property
    def wants_upgrade(self) -> bool:
        """Whether the client asks to leave HTTP (`Connection: Upgrade`)."""
        connection = self.headers.get("connection", "").lower()
        return "upgrade" in (word.strip() for word in connection.split(","))


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


class ServerConnection:
    """One connection, any number of requests one after the other."""

    def __init__(self) -> None:
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)

    def feed(self, data: bytes) -> None:
        """Take what was received; empty is the end of file."""
        try:
            self._h11.receive_data(data)
        except RuntimeError as error:
            # h11's word for data after the end.
            raise BadRequest(str(error), 400) from error

    def next_event(self) -> Event:
        """The next event of what was fed.

        Raises:
            BadRequest: the connection cannot be used further than one error response.
        """
        try:
            event = self._h11.next_event()
        except h11.RemoteProtocolError as error:
            raise BadRequest(str(error), error.error_status_hint) from error
        if event is h11.NEED_DATA:
            return Signal.NEED_DATA
        if event is h11.PAUSED:
            return Signal.PAUSED
        match event:
            case h11.Request():
                return RequestHead(
                    event.method.decode("ascii"),
                    event.target.decode("ascii"),
                    {
                        key.decode("latin-1"): value.decode("latin-1")
                        for key, value in event.headers
                    },
                )
            case h11.Data():
                return BodyPart(bytes(event.data))
            case h11.EndOfMessage():
                return Signal.END_OF_MESSAGE
            case _:
                return Signal.CLOSED

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for `100 Continue` before it sends the body."""
        return self._h11.they_are_waiting_for_100_continue

    def continue_(self) -> bytes:
        """The interim response it waits for."""
        return self._h11.send(h11.InformationalResponse(status_code=100, headers=[])) or b""

    def head(self, status: int, headers: Headers) -> bytes:
        """Status line and headers. Without a content-length the body is chunked."""
        fields = [(key.encode("latin-1"), value.encode("latin-1")) for key, value in headers]
        reason = REASONS.get(status, "").encode()
        event = h11.Response(status_code=status, headers=fields, reason=reason)
        return self._h11.send(event) or b""

    def data(self, data: bytes) -> bytes:
        """A piece of the body as it goes over the wire."""
        return self._h11.send(h11.Data(data=data)) or b""

    def end(self) -> bytes:
        """What ends the body."""
        return self._h11.send(h11.EndOfMessage()) or b""

    def next_request(self) -> bool:
        """After a whole exchange: make ready for the next; false if the connection must close."""
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
            return True
        return False

    def leave(self) -> bytes:
        """Stop speaking HTTP: returns what was received beyond the request."""
        return bytes(self._h11.trailing_data[0])
