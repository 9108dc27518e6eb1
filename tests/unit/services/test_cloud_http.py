"""Requests of the cloud service against servers that do not behave."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from orlop.services.cloud import http
from orlop.services.cloud.machine import interface_names, surroundings, wait_for_network
from orlop.services.cloud.main import fetch_includes
from orlop.services.cloud.probe import Probe
from orlop.wire.cloud.answer import MAX_USER_DATA_BYTES, Answer, decode, encode
from orlop.wire.cloud.conversation import Request, Surroundings

type Act = Callable[[socket.socket], None]


@contextmanager
def server(answer: Act) -> Iterator[str]:
    """A server on the loopback that does *answer* with each connection; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        connection.recv(65536)
                        answer(connection)
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(65536):
                            pass  # a socket that is closed with something unread resets
                    except OSError:
                        pass  # the client has had enough, as it should

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def says(text: bytes) -> Act:
    return lambda connection: connection.sendall(text)


def deadline(seconds: float = 20.0) -> float:
    return time.monotonic() + seconds


def test_an_answer() -> None:
    with server(says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")) as url:
        response = http.send(Request(url), deadline())
    assert (response.status, response.body, response.ok) == (200, b"hi", True)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"", "without response"),
        (b"SSH-2.0-x\r\n", "SSH-2.0"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", "7 bytes are missing"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, ""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ""),
    ],
    ids=["nothing", "another protocol", "cut off", "long header", "bad chunk"],
)
def test_nonsense_is_no_answer(text: bytes, error: str) -> None:
    with server(says(text)) as url:
        response = http.send(Request(url), deadline())
    assert response.status == 0
    assert response.error
    assert error in response.error


def test_a_body_without_end() -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(MAX_USER_DATA_BYTES // 65536 + 64):
            connection.sendall(bytes(65536))

    with server(flood) as url:
        response = http.send(Request(url), deadline())
    assert (response.status, "longer than" in response.error) == (0, True)


def test_a_byte_now_and_then_ends_with_the_time() -> None:
    done = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not done.wait(0.05):
            connection.sendall(b"x")

    with server(drip) as url:
        response = http.send(Request(url), deadline(0.5))
        done.set()
    assert (response.status, "no time left" in response.error) == (0, True)
    assert "no time left" in http.send(Request(url), deadline(-1)).error


def test_redirects_are_bounded_and_stay_http() -> None:
    with server(says(b"HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n")) as url:
        assert "more than 5 redirects" in http.send(Request(url), deadline()).error
    with server(says(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/shadow\r\n\r\n")) as url:
        assert "redirected to 'file:" in http.send(Request(url), deadline()).error
        posted = http.send(Request(url, method="POST", body=b"x"), deadline())
        assert posted.status == 302


@pytest.mark.parametrize("url", ["ftp://a/", "http://", "http://[::1", "x", "http://a:99999/"])
def test_urls_that_are_none(url: str) -> None:
    assert http.send(Request(url), deadline()).status == 0


def test_routes() -> None:
    assert http.has_route("http://127.0.0.1:80/")
    assert not http.has_route("http://[2001:db8:ffff::1%nothing]/")


def test_waiting_for_a_network_ends() -> None:
    assert wait_for_network(lambda: True, 0.0)
    assert not wait_for_network(lambda: False, 0.05)


def test_the_machine() -> None:
    assert all(len(mac) == 17 for mac in interface_names())
    seed = {"seedfrom": "http://a", "x": 7}
    found = surroundings({"serial": "7", "machine": "uuid", "seed": seed})
    assert (found.serial, found.machine) == ("7", "uuid")
    assert found.kernel_seed == {"seedfrom": "http://a", "x": ""}


def test_a_probe_ends_when_all_have_failed() -> None:
    around = Surroundings(config_url="ftp://a/", kernel_seed={"seedfrom": "x"})
    probe = Probe(["url", "nocloud-net", "unknown"], around, deadline(0.1))
    assert probe.wait() is None
    assert probe.reasons.keys() == {"url", "nocloud-net"}


def test_a_redirect_to_nonsense_and_a_route_there() -> None:
    with server(says(b"HTTP/1.1 302 Found\r\nLocation: http://[x\r\n\r\n")) as url:
        assert http.send(Request(url), deadline()).status == 0
    assert not http.has_route("http://[x")


def test_headers_that_never_end() -> None:
    done = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while not done.wait(0.05):
            connection.sendall(b"X: y\r\n")

    with server(drip) as url:
        response = http.send_in_time(Request(url), deadline(0.5))
        done.set()
    assert response.error == "no time left"


def test_what_is_included_fits_into_an_answer() -> None:
    body = bytes(MAX_USER_DATA_BYTES)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    with server(says(head + body)) as url:
        names = [f"{url}{number}" for number in range(6)]
        user_data = "\n".join(["#include", *names]).encode()
        answer = fetch_includes(Answer("url", user_data=user_data.ljust(MAX_USER_DATA_BYTES)))
    assert decode(encode(answer)) == answer
    assert [*answer.included] == names[:3]
    assert all("all together" in warning for warning in answer.warnings)
