"""The cloud service over TLS: only a server that one of the image's authorities vouches for."""

import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from orlop.services.cloud import http
from orlop.wire.cloud.conversation import Request, Response

pytestmark = pytest.mark.engine


def make(directory: Path, name: str, *words: str) -> None:
    """A key and certificate *name*."""
    files = ["-keyout", f"{directory}/{name}.key", "-out", f"{directory}/{name}.crt"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-x509"]
    subprocess.run(["openssl", "req", *key, *files, *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority and a server at 127.0.0.1; the authority's certificate is in `trusted`."""
    directory = tmp_path_factory.mktemp("tls")
    (directory / "trusted").mkdir()
    make(directory, "trusted/ca", "-subj", "/CN=ca")
    by = ("-CA", f"{directory}/trusted/ca.crt", "-CAkey", f"{directory}/trusted/ca.key")
    make(directory, "good", "-subj", "/CN=good", "-addext", "subjectAltName=IP:127.0.0.1", *by)
    make(directory, "other", "-subj", "/CN=o", "-addext", "subjectAltName=DNS:other.example", *by)
    make(directory, "own", "-subj", "/CN=own", "-addext", "subjectAltName=IP:127.0.0.1")
    return directory


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"hi")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def server(directory: Path, name: str) -> Iterator[str]:
    """A web server that shows certificate *name*; its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / f"{name}.crt", directory / f"{name}.key")
    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that hangs up
    web.socket = context.wrap_socket(web.socket, server_side=True)
    thread = threading.Thread(target=web.serve_forever)
    thread.start()
    try:
        yield f"https://127.0.0.1:{web.server_address[1]}/"
    finally:
        web.shutdown()
        thread.join()
        web.server_close()


def ask(certificates: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Response:
    monkeypatch.setattr(http, "CERTIFICATES", str(certificates / "trusted"))
    monkeypatch.setattr(http, "CONFIGURED", "/nonexistent")
    with server(certificates, name) as url:
        return http.send(Request(url), time.monotonic() + 20)


def test_a_server_that_is_vouched_for(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    response = ask(certificates, "good", monkeypatch)
    assert (response.status, response.body) == (200, b"hi"), response.error


@pytest.mark.parametrize("name", ["own", "other"])
def test_one_that_is_not_and_one_with_another_name(
    certificates: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    response = ask(certificates, name, monkeypatch)
    assert response.status == 0
    assert "certificate" in response.error.lower()


def test_nobody_is_trusted_without_authorities(
    certificates: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(http, "CERTIFICATES", str(tmp_path))
    monkeypatch.setattr(http, "CONFIGURED", "/nonexistent")
    with server(certificates, "good") as url:
        assert http.send(Request(url), time.monotonic() + 20).status == 0


def test_configured_authorities_count(
    certificates: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(http, "CONFIGURED", str(certificates / "own.crt"))
    monkeypatch.setattr(http, "CERTIFICATES", str(tmp_path))
    with server(certificates, "own") as url:
        response = http.send(Request(url), time.monotonic() + 20)
        assert response.status == 200, response.error
