"""What was asked for is done, also when who asked has left."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING

import pytest

from tests.engine.containers.engine_host import UnixConnection

if TYPE_CHECKING:
    from tests.engine.containers.engine_host import EngineProcess

pytestmark = [pytest.mark.root, pytest.mark.engine]

STUBBORN = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]


def ask_and_leave(engine: EngineProcess, method: str, target: str, event: str) -> None:
    """Send a request, and close the connection when the engine has begun with it."""
    events = UnixConnection(engine.socket_path)
    events.request("GET", f"/events?filters=%7B%22event%22%3A%5B%22{event}%22%5D%7D")
    response = events.getresponse()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(str(engine.socket_path))
    connection.sendall(f"{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert response.readline()
    connection.close()
    events.close()


def test_a_restart_is_carried_through(engine: EngineProcess) -> None:
    engine.run("box", STUBBORN)
    engine.wait_until(lambda: engine.logs("box") == b"ready\n")
    before = engine.inspect("box")["State"]["Pid"]

    ask_and_leave(engine, "POST", "/containers/box/restart?t=1", "kill")

    engine.wait_until(lambda: engine.inspect("box")["State"]["Pid"] not in (0, before))


def test_a_forced_removal_is_carried_through(engine: EngineProcess) -> None:
    engine.run("box", STUBBORN)

    ask_and_leave(engine, "DELETE", "/containers/box?force=1", "kill")

    engine.wait_until(lambda: engine.request("GET", "/containers/box/json")[0] == 404)


def test_who_waits_costs_nothing_when_gone(engine: EngineProcess) -> None:
    engine.run("box", ["sleep", "1000"])
    before = engine.descriptors()
    for target in ("/containers/box/wait", "/containers/box/wait?condition=removed"):
        connection = UnixConnection(engine.socket_path)
        connection.request("POST", target)
        connection.sock.recv(100)
        connection.close()

    engine.wait_until(lambda: engine.descriptors() <= before)


def test_a_thousand_bodies_that_break_off_leave_room_for_others(engine: EngineProcess) -> None:
    head = b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    for _ in range(1100):  # more than there may be connections
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(engine.socket_path))
            connection.sendall(head + b"{")
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1000)
    with contextlib.ExitStack() as waiting:
        for _ in range(5):
            connection = waiting.enter_context(socket.socket(socket.AF_UNIX))
            connection.settimeout(60)
            connection.connect(str(engine.socket_path))
            connection.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert engine.request("GET", "/_ping")[0] == 200


def test_a_body_that_breaks_off_is_no_request(engine: EngineProcess) -> None:
    before = engine.descriptors()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(str(engine.socket_path))
    head = "POST /containers/create?name=half HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    connection.sendall(head.encode() + b'{"Image": "busybox"')
    time.sleep(0.05)  # either way it is no request
    connection.close()

    engine.wait_until(lambda: engine.descriptors() <= before)
    assert engine.request("GET", "/containers/half/json")[0] == 404
    assert "Traceback" not in engine.log()
