"""Any bytes, however divided, give the same events or the same refusal; h11 agrees about what is in
requests that both accept."""

from __future__ import annotations

import h11

from orlop.wire.http import BadRequest, BodyPart, RequestHead, ServerConnection, Signal

SEEDS = (
    b"GET /v1.47/containers/json?all=1 HTTP/1.1\r\nHost: docker\r\nUser-Agent: x\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /b HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\n\r\n",
    b"HEAD /_ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"PUT /c HTTP/1.1\r\nHost: d\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
    b"POST /exec HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nraw",
)
TOKENS = (
    *(b"\r\n", b"\n", b": ", b"Content-Length: 1\r\n", b"Host: h\r\n", b"HTTP/1.1", b" ", b"\0"),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"0\r\n\r\n",
        b"ffffffffffffffff\r\n",
        b"Connection: close\r\n",
    ),
)

type Seen = tuple[RequestHead | None, bytes, bool, int]
"""Head, body, whether it was complete, status of the refusal."""


def _ours(data: bytes, step: int) -> Seen:
    connection = ServerConnection()
    head, body, whole = None, bytearray(), False
    try:
        for at in range(0, len(data), step):
            connection.feed(data[at : at + step])
            while (event := connection.next_event()) is not Signal.NEED_DATA:
                match event:
                    case RequestHead():
                        head = event
                    case BodyPart():
                        body += event.data
                    case _:
                        return head, bytes(body), event is Signal.END_OF_MESSAGE, 0
    except BadRequest as error:
        return head, bytes(body), whole, error.status
    return head, bytes(body), whole, 0


def _h11s(data: bytes) -> tuple[bytes, bytes, bytes] | None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    method, target, body = b"", b"", bytearray()
    try:
        while True:
            match connection.next_event():
                case h11.Request() as request:
                    method, target = request.method, request.target
                case h11.Data() as part:
                    body += part.data
                case h11.EndOfMessage():
                    return method, target, bytes(body)
                case _:
                    return None
    except h11.RemoteProtocolError:
        return None


def check(data: bytes) -> None:
    whole = _ours(data, len(data) or 1)
    pieces = _ours(data, 1)
    # A body before a refusal may be handed out or not; the rest is the same.
    assert whole[0] == pieces[0]
    assert whole[2:] == pieces[2:]
    if whole[2]:
        assert whole[1] == pieces[1]
        theirs = _h11s(data)
        if theirs is not None and whole[0] is not None:
            found = (whole[0].method.encode(), whole[0].target.encode(), whole[1])
            assert found == theirs
