"""Downloads of a build: what goes along with a redirect, and servers that talk nonsense."""

from __future__ import annotations

import http.server
import ssl
import threading
from contextlib import contextmanager
from email.message import Message
from typing import TYPE_CHECKING
from urllib.error import URLError

import pytest

from orlop.engine.build.fetch import open_url
from orlop.wire.registry.proxies import Proxies
from orlop.wire.registry.proxy_rules import parse_proxies

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@contextmanager
def server(location: str = "") -> Iterator[tuple[str, list[Message]]]:
    """Its `HOST:PORT`, and the headers it was sent; it redirects to *location* if there is one."""
    asked: list[Message] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers)
            there = location if self.path != "/end" else ""
            self.send_response(302 if there else 200)
            if there:
                self.send_header("Location", there)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{listening.server_port}", asked
        finally:
            listening.shutdown()
            thread.join()


def test_the_password_of_a_proxy_stays_with_it() -> None:
    with server() as (host, asked), server(f"http://{host}/") as (proxy, asked_proxy):
        proxies = parse_proxies(f"http://ann:secret@{proxy}", "", [])
        with open_url("http://far.example/x", proxies, CONTEXT):
            pass
    assert asked_proxy[0]["Proxy-Authorization"].startswith("Basic ")
    assert [headers["Proxy-Authorization"] for headers in asked] == [None]


def test_credentials_of_an_address_are_for_its_host() -> None:
    with server() as (other, asked_other):
        for location, expected in (("/end", 2), (f"http://{other}/", 1)):
            with server(location) as (host, asked):
                open_url(f"http://ann:se%2Fcret@{host}/x", Proxies(), CONTEXT).close()
            sent = [headers["Authorization"] for headers in asked]
            assert sent == ["Basic YW5uOnNlL2NyZXQ="] * expected
    assert [headers["Authorization"] for headers in asked_other] == [None]


def test_no_other_protocol_is_followed_to() -> None:
    with (
        server("ftp://127.0.0.1:9/x") as (host, _),
        pytest.raises(URLError, match="redirected to 'ftp:"),
    ):
        open_url(f"http://{host}/", Proxies(), CONTEXT)
