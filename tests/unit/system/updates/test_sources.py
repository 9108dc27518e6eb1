"""Servers that misbehave: what they do ends in bounded time and memory, with an error in words."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, cast

import pytest

from orlop.engine.registry.settings import Registries
from orlop.lib.errors import InvalidArgument, NotFound, OrlopError, Unavailable
from orlop.system.updates import sources
from orlop.system.updates.sources import open_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop.system.updates.sources import Source

OK = b"HTTP/1.1 200 OK\r\n"
LIMIT = 16 << 10
SIZE = 5000


class Web:
    """Answers each request with the same bytes; *endless* ones once more, until nobody listens."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.answer, self.endless, self.asked = b"", b"", 0
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/orlop"

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, suppress(OSError):
                    connection.recv(65536)
                    self.asked += 1
                    connection.sendall(self.answer)
                    while self.endless:
                        connection.sendall(self.endless)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setattr(sources, "RETRY_DELAYS_S", (0.0,))
    monkeypatch.setattr("orlop.engine.registry.transfer.RETRY_DELAYS_S", (0.0,))
    found = Web()
    yield found
    found.close()


def small(web: Web) -> bytes | None:
    with opened(web) as source:
        return source.small("metadata/timestamp.json", LIMIT)


@contextmanager
def opened(web: Web) -> Iterator[Source]:
    source = open_source(web.url, Registries())
    yield source
    cast("sources._Web", source)._pool.close()


@pytest.mark.parametrize(
    ("answer", "endless", "kind", "text"),
    [
        (OK + b"\r\n", b"x" * 65536, InvalidArgument, "has more than 16384 bytes"),
        (OK + b"Content-Length: 99999999\r\n\r\n", b"x" * 65536, InvalidArgument, "more than"),
        (OK, b"X-Header: 1\r\n" * 5000, Unavailable, "malformed HTTP"),
        (OK + b"X: ", b"x" * 65536, Unavailable, "malformed HTTP"),
        (OK + b"Content-Length: 10\r\n\r\nfour", b"", Unavailable, "EOF"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"", Unavailable, ""),
        (b"SSH-2.0-OpenSSH\r\n", b"", Unavailable, ""),
        (b"", b"", Unavailable, "EOF"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", b"", Unavailable, "503 Busy"),
        (b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", b"", Unavailable, "401 No"),
        (b"HTTP/1.1 302 F\r\nLocation: file:///etc/shadow\r\n\r\n", b"", Unavailable, "nowhere"),
        (b"HTTP/1.1 302 F\r\nLocation: /orlop/x\r\n\r\n", b"", Unavailable, "redirects"),
    ],
    ids=range(12),
)
def test_an_answer_that_is_none(
    web: Web, answer: bytes, endless: bytes, kind: type[OrlopError], text: str
) -> None:
    web.answer, web.endless = answer, endless
    with pytest.raises(kind, match=text):
        small(web)
    assert web.asked <= 2 * 12, "it is tried again, and given up"


def test_what_is_not_there_is_no_error(web: Web) -> None:
    web.answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n"
    assert small(web) is None
    with opened(web) as source, pytest.raises(NotFound, match="404 Not Found"):
        source.blob("targets/blobs/x", SIZE, 0, lambda _: None)


@pytest.mark.parametrize(
    ("answer", "endless", "text"),
    [
        (OK + b"\r\n", b"x" * 65536, "sends more than"),
        (OK + b"Content-Length: 7\r\n\r\n1234567", b"", "EOF"),
        (b"HTTP/1.1 206 Part\r\nContent-Length: 4\r\n\r\n1234", b"", "another part"),
        (
            b"HTTP/1.1 206 P\r\nContent-Range: bytes 4000-4999/5000\r\nContent-Length: 4\r\n\r\n1",
            b"",
            "another part",
        ),
    ],
    ids=range(4),
)
def test_a_blob_of_another_length_or_place(
    web: Web, answer: bytes, endless: bytes, text: str
) -> None:
    web.answer, web.endless = answer, endless
    received = bytearray()
    with opened(web) as source, pytest.raises(OrlopError, match=text):
        source.blob("targets/blobs/x", SIZE, 1000, received.extend)
    assert len(received) <= SIZE


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("https://user:secret@host/x", "no name or password"),
        ("ftp://host/x", "no source of releases"),
        ("https:///x", "no source of releases"),
        ("https://host/x?a=b", "no source of releases"),
        ("stable", "no source of releases"),
        ("https://host:99999/x", "no source of releases"),
        ("oci://", ""),
        ("oci://HOST/UPPER:x", ""),
    ],
)
def test_what_cannot_be_a_source(place: str, text: str) -> None:
    with pytest.raises(InvalidArgument, match=text) as caught:
        open_source(place, Registries())
    assert "secret" not in str(caught.value)


def test_a_server_that_takes_connections_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "RETRY_DELAYS_S", (0.0,) * 8)
    monkeypatch.setattr(sources, "ANSWER_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Unavailable, match=r"timestamp\.json: the server does not answer"):
            open_source(url, Registries()).small("timestamp.json", LIMIT)
        silent.setblocking(False)
        asked = 0
        with suppress(BlockingIOError):
            while True:
                silent.accept()[0].close()
                asked += 1
    assert asked == sources.ASKED
