"""Clients that do not read, do not write, or do it slowly: bounded, and in nobody's way."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engine.containers.engine_host import UserEngine

pytestmark = [pytest.mark.root, pytest.mark.engine]

EVENTS = 3000
MEMORY_BYTES = 24 << 20
"""More than what is remembered and queued; less than what is sent."""


@contextlib.contextmanager
def client(engine: UserEngine, text: str) -> Iterator[socket.socket]:
    """Connected, *text* sent, and nothing read."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(os.fspath(engine.socket_path))
        connection.sendall(text.encode())
        yield connection


def get(target: str) -> str:
    return f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"


def memory_bytes(engine: UserEngine) -> int:
    with open(f"/proc/{engine.pid}/statm") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_who_does_not_read_costs_no_memory_and_holds_back_no_one(user_engine: UserEngine) -> None:
    engine = user_engine
    command = "yes 0123456789abcdef | head -c 60000000; touch /done; exec sleep 1000"
    engine.run("loud", ["sh", "-c", command], Labels={"filler": "x" * 4000})
    engine.wait_until(lambda: engine.execute("loud", ["cat", "/done"])[0] == 0)
    before = memory_bytes(engine)
    with contextlib.ExitStack() as clients:
        for target in (
            "/containers/loud/logs?stdout=1&follow=1",
            "/containers/loud/export",
            "/containers/loud/stats",
            "/events",
            "/events?since=1",
        ):
            clients.enter_context(client(engine, get(target)))
        for number in range(EVENTS):
            assert engine.request("GET", "/containers/loud/top")[0] == 200  # an event
            if number % 500 == 0:
                assert engine.request("GET", "/_ping")[0] == 200
        assert memory_bytes(engine) - before < MEMORY_BYTES
    engine.wait_until(lambda: engine.descriptors() < 40)


def test_requests_that_trickle_or_are_half_closed_harm_nobody(user_engine: UserEngine) -> None:
    engine = user_engine
    with contextlib.ExitStack() as clients:
        create = (
            "POST /containers/create?name=slow HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n"
        )
        load = "POST /images/load HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        waiting = [
            clients.enter_context(client(engine, text))
            for text in (
                "GET / HT",
                "GET /info HTTP/1.1\r\nHo",
                create,
                f'{create}\r\n{{"Image"',
                load,
            )
            for _ in range(20)
        ]
        # One that has closed its half is answered all the same.
        half = clients.enter_context(client(engine, get("/_ping")))
        half.shutdown(socket.SHUT_WR)
        assert half.recv(100).startswith(b"HTTP/1.1 200")

        engine.run("box", ["true"])
        assert engine.wait("box") == 0

        assert all(connection.fileno() >= 0 for connection in waiting)
    assert engine.request("GET", "/containers/slow/json")[0] == 404
    engine.wait_until(lambda: engine.descriptors() < 40)


def test_a_head_without_end_is_cut_off(user_engine: UserEngine) -> None:
    with (
        client(user_engine, "GET /_ping HTTP/1.1\r\n") as connection,
        contextlib.suppress(ConnectionError),
    ):
        for number in range(100_000):
            connection.sendall(f"X-{number}: {'y' * 100}\r\n".encode())
        raise AssertionError("the engine took ten megabytes of headers")
    assert user_engine.request("GET", "/_ping")[0] == 200
