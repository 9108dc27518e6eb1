"""HTTP without I/O: each input whole and byte by byte gives the same events."""

from __future__ import annotations

import pytest

from orlop.wire.http import (
    MAX_HEAD_BYTES,
    BadRequest,
    BodyPart,
    Event,
    RequestHead,
    ServerConnection,
    Signal,
)

GET = b"GET /v1.47/containers/json?all=1 HTTP/1.1\r\nHost: docker\r\nUser-Agent: x\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST /b HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"


def events(data: bytes, step: int) -> list[Event]:
    connection = ServerConnection()
    found: list[Event] = []
    for start in range(0, len(data), step):
        connection.feed(data[start : start + step])
        while (event := connection.next_event()) not in (Signal.NEED_DATA, Signal.PAUSED):
            found.append(event)
    return found


def body(found: list[Event]) -> bytes:
    return b"".join(event.data for event in found if isinstance(event, BodyPart))


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("data", "target", "content"),
    [
        (GET, "/v1.47/containers/json?all=1", b""),
        (POST, "/a", b"hello"),
        (CHUNKED, "/b", b"abc"),
    ],
)
def test_requests(data: bytes, target: str, content: bytes, step: int) -> None:
    found = events(data, step)

    assert isinstance(found[0], RequestHead)
    assert found[0].target == target
    assert body(found) == content
    assert found[-1] is Signal.END_OF_MESSAGE


def test_two_requests_on_one_connection() -> None:
    connection = ServerConnection()
    connection.feed(GET + GET)
    assert isinstance(connection.next_event(), RequestHead)
    assert connection.next_event() is Signal.END_OF_MESSAGE
    assert connection.next_event() is Signal.PAUSED
    sent = connection.head(200, [("Content-Length", "2")]) + connection.data(b"OK")
    sent += connection.end()

    assert sent.endswith(b"\r\n\r\nOK")
    assert connection.next_request()
    assert isinstance(connection.next_event(), RequestHead)


def test_a_body_of_unknown_length_is_chunked() -> None:
    connection = ServerConnection()
    connection.feed(GET)
    connection.next_event()
    sent = connection.head(200, []) + connection.data(b"abc") + connection.end()
    assert sent.endswith(b"3\r\nabc\r\n0\r\n\r\n")


def test_what_follows_an_upgrade_is_kept() -> None:
    connection = ServerConnection()
    connection.feed(
        b"POST /attach HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\nConnection: Upgrade\r\n"
        b"Upgrade: tcp\r\n\r\nraw input"
    )
    head = connection.next_event()
    assert isinstance(head, RequestHead)
    assert head.wants_upgrade
    assert connection.next_event() is Signal.END_OF_MESSAGE
    assert connection.leave() == b"raw input"


def test_who_waits_for_100_gets_it_once() -> None:
    connection = ServerConnection()
    connection.feed(
        b"PUT / HTTP/1.1\r\nHost: d\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    )
    connection.next_event()
    assert connection.expects_continue
    assert connection.continue_() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert not connection.expects_continue
    connection.feed(b"ok")
    assert connection.next_event() == BodyPart(b"ok")


def test_who_is_refused_instead_of_100_must_not_go_on() -> None:
    connection = ServerConnection()
    connection.feed(
        b"PUT / HTTP/1.1\r\nHost: d\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    )
    connection.next_event()
    sent = connection.head(404, [("Content-Length", "0")]) + connection.end()
    assert b"\r\nConnection: close\r\n" in sent
    assert not connection.keeps_alive
    assert not connection.expects_continue


def test_http_1_0_knows_no_chunks() -> None:
    connection = ServerConnection()
    connection.feed(b"GET / HTTP/1.0\r\n\r\n")
    connection.next_event()
    sent = connection.head(200, []) + connection.data(b"abc") + connection.end()
    assert sent == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc"
    assert not connection.next_request()


def test_an_answer_to_head_has_a_length_but_no_body() -> None:
    connection = ServerConnection()
    connection.feed(b"HEAD / HTTP/1.1\r\nHost: d\r\n\r\n")
    assert connection.next_event() == RequestHead("HEAD", "/", {"host": "d"})
    assert connection.next_event() is Signal.END_OF_MESSAGE
    assert connection.next_event() is Signal.NEED_DATA
    sent = connection.head(200, [("Content-Length", "3")]) + connection.data(b"abc")
    assert sent + connection.end() == b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"
    assert connection.next_request()


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_trailers_and_extensions_are_dropped(step: int) -> None:
    data = b"PUT / HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: Chunked\r\n\r\n"
    data += b"2;a=b\r\nab\r\n0001\r\nc\r\n0\r\nX-Sum: 1\r\n\r\n"
    found = events(data, step)
    assert body(found) == b"abc"
    assert found[-1] is Signal.END_OF_MESSAGE


def test_the_end_of_a_client() -> None:
    connection = ServerConnection()
    connection.feed(GET)
    connection.feed(b"")
    assert isinstance(connection.next_event(), RequestHead)
    assert connection.next_event() is Signal.END_OF_MESSAGE
    assert connection.next_event() is Signal.CLOSED
    connection = ServerConnection()
    connection.feed(b"")
    assert connection.next_event() is Signal.CLOSED
    connection = ServerConnection()
    connection.feed(POST[:-1])
    connection.feed(b"")
    assert isinstance(connection.next_event(), RequestHead)
    assert connection.next_event() == BodyPart(b"hell")
    with pytest.raises(BadRequest):
        connection.next_event()


@pytest.mark.parametrize(
    "data",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 40_000,
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: " + b"a" * (MAX_HEAD_BYTES + 10),
    ],
)
@pytest.mark.parametrize("step", [1, 100_000])
def test_garbage_is_refused(data: bytes, step: int) -> None:
    with pytest.raises(BadRequest) as caught:
        events(data, step)
    assert 400 <= caught.value.status < 500
