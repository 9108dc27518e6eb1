"""Attach, terminals, input, logs that follow: the hijacked and the long answers."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from orlop.wire.stdcopy import Decoder, Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engine.containers.engine_host import EngineProcess, UserEngine

pytestmark = [pytest.mark.root, pytest.mark.engine]

TIMEOUT_S = 60.0


class Raw:
    """A client that takes over the connection, as docker's does."""

    def __init__(
        self, engine: EngineProcess, target: str, body: object = None, *, upgrade: bool = True
    ) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT_S)
        self.socket.connect(os.fspath(engine.socket_path))
        data = b"" if body is None else json.dumps(body).encode()
        headers = f"Host: x\r\nContent-Length: {len(data)}\r\n"
        headers += "Content-Type: application/json\r\n" if data else ""
        if upgrade:
            headers += "Connection: Upgrade\r\nUpgrade: tcp\r\n"
        self.socket.sendall(f"POST {target} HTTP/1.1\r\n{headers}\r\n".encode() + data)
        self.received = b""
        while b"\r\n\r\n" not in self.received:
            self.received += self.socket.recv(4096)
        self.head, _, self.received = self.received.partition(b"\r\n\r\n")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def close_sending(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def read_until(self, condition: Callable[[bytes], bool]) -> bytes:
        while not condition(self.received):
            data = self.socket.recv(65536)
            assert data, f"the stream ended after {self.received[-200:]!r}"
            self.received += data
        return self.received

    def read_all(self) -> bytes:
        with self.socket:
            while data := self.socket.recv(65536):
                self.received += data
        return self.received


def plain(data: bytes) -> bytes:
    return b"".join(frame.data for frame in Decoder().feed(data))


def test_input_given_before_the_start_arrives_whole(engine: EngineProcess) -> None:
    engine.create("cat", ["cat"], OpenStdin=True, StdinOnce=True)
    client = Raw(engine, "/containers/cat/attach?stream=1&stdin=1&stdout=1&stderr=1")
    assert client.head.startswith(b"HTTP/1.1 101 UPGRADED")
    payload = b"".join(b"line %d\n" % number for number in range(20_000))
    engine.request("POST", "/containers/cat/start")

    def send() -> None:
        client.send(payload)
        client.close_sending()

    sender = threading.Thread(target=send)
    sender.start()
    assert plain(client.read_all()) == payload
    sender.join()
    assert engine.wait("cat") == 0


def test_both_streams_and_the_old_way_to_hijack(engine: EngineProcess) -> None:
    engine.create("two", ["sh", "-c", "echo out; echo err >&2"])
    target = "/containers/two/attach?stream=1&stdout=1&stderr=1"
    client = Raw(engine, target, upgrade=False)
    assert client.head.startswith(b"HTTP/1.1 200 OK")
    engine.request("POST", "/containers/two/start")

    frames = Decoder().feed(client.read_all())

    assert {(frame.stream, frame.data) for frame in frames} == {
        (Stream.STDOUT, b"out\n"),
        (Stream.STDERR, b"err\n"),
    }


def test_terminal_size_signals_and_detaching(engine: EngineProcess) -> None:
    engine.create("shell", ["sh"], Tty=True, OpenStdin=True)
    client = Raw(engine, "/containers/shell/attach?stream=1&stdin=1&stdout=1")
    engine.request("POST", "/containers/shell/start")
    assert engine.request("POST", "/containers/shell/resize?h=40&w=132")[0] == 200
    client.send(b"stty size; echo mark-$((1+1))\n")
    assert b"40 132" in client.read_until(lambda data: b"mark-2" in data)

    client.send(b"\x10\x11")

    client.read_all()
    assert engine.state("shell") == "running"
    again = Raw(engine, "/containers/shell/attach?stream=1&stdin=1&stdout=1")
    again.send(b"exit 6\n")
    again.read_all()
    assert engine.wait("shell") == 6


def test_exec_with_terminal(engine: EngineProcess) -> None:
    engine.run("host", ["sleep", "1000"])
    body = {
        "Cmd": ["sh"],
        "Tty": True,
        "AttachStdin": True,
        "AttachStdout": True,
        "ConsoleSize": [24, 90],
    }
    _, answer = engine.request("POST", "/containers/host/exec", body)
    client = Raw(engine, f"/exec/{answer['Id']}/start", {"Tty": True})
    client.send(b"stty size; tty; exit 3\n")

    output = client.read_all()

    assert b"24 90" in output
    assert b"/dev/pts/" in output
    _, inspected = engine.request("GET", f"/exec/{answer['Id']}/json")
    assert (inspected["Running"], inspected["ExitCode"]) == (False, 3)


def test_exec_with_input(engine: EngineProcess) -> None:
    engine.run("host", ["sleep", "1000"])
    body = {"Cmd": ["wc", "-c"], "AttachStdin": True, "AttachStdout": True}
    _, answer = engine.request("POST", "/containers/host/exec", body)
    client = Raw(engine, f"/exec/{answer['Id']}/start", {})
    client.send(b"x" * 100_000)
    client.close_sending()

    assert plain(client.read_all()).strip() == b"100000"


def test_logs_follow_to_the_end(engine: EngineProcess) -> None:
    engine.run("talker", ["sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done; echo done"])

    assert engine.logs("talker", "follow=1").splitlines() == [b"1", b"2", b"3", b"done"]


def test_logs_tail_since_and_timestamps(engine: EngineProcess) -> None:
    engine.run("talker", ["sh", "-c", "seq 5; sleep 0.3; seq 6 9"])
    engine.wait("talker")

    assert engine.logs("talker", "tail=3") == b"7\n8\n9\n"
    assert engine.logs("talker", "tail=7").split() == [str(n).encode() for n in range(3, 10)]
    assert engine.logs("talker", "tail=0") == b""
    stamped = engine.logs("talker", "timestamps=1").decode().splitlines()
    assert [line.split()[1] for line in stamped] == [str(n) for n in range(1, 10)]
    middle = stamped[5].split()[0]
    assert engine.logs("talker", f"since={middle}").split() == [b"6", b"7", b"8", b"9"]


def test_client_that_leaves_is_forgotten(engine: EngineProcess) -> None:
    engine.run("quiet", ["sleep", "1000"])
    before = engine.descriptors()
    descriptors = f"/proc/{engine.pid}/fd"
    for target in ("/containers/quiet/attach?stream=1&stdout=1", "/containers/quiet/wait"):
        client = Raw(engine, target)
        client.close_sending()
        engine.wait_until(lambda: len(os.listdir(descriptors)) > before)
        client.socket.close()
        # The hang-up watch keeps a descriptor of its own from the first half-closed client on.
        engine.wait_until(lambda: len(os.listdir(descriptors)) <= before + 1)


def test_client_that_does_not_read_holds_back_nobody_for_long(engine: EngineProcess) -> None:
    engine.create("yes", ["sh", "-c", "yes | head -c 20000000; touch /done; sleep 1000"])
    client = Raw(engine, "/containers/yes/attach?stream=1&stdout=1")
    started_s = time.monotonic()
    engine.request("POST", "/containers/yes/start")

    done = engine.directory / "data/containers" / engine.inspect("yes")["Id"] / "upper/done"
    engine.wait_until(done.exists)

    assert time.monotonic() - started_s > 5  # It was held back …
    client.socket.close()  # … until the limit, not until here.


def test_idle_connections_make_room_for_new_ones(user_engine: UserEngine) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    clients = []
    for _ in range(1100):
        client = socket.socket(socket.AF_UNIX)
        client.connect(os.fspath(user_engine.socket_path))
        client.settimeout(TIMEOUT_S)
        client.sendall(b"GET /_ping HTTP/1.1\r\nHo")  # never a whole request
        clients.append(client)
    assert user_engine.answers()
    with contextlib.suppress(ConnectionResetError):
        assert clients[0].recv(100) == b""
    clients[-1].sendall(b"st: x\r\n\r\n")
    assert clients[-1].recv(100).startswith(b"HTTP/1.1 200")
    for client in clients:
        client.close()


def test_waiting_requests_above_the_limit_are_refused(user_engine: UserEngine) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    user_engine.create("box", ["true"])
    clients = []
    for _ in range(1024):
        client = socket.socket(socket.AF_UNIX)
        client.connect(os.fspath(user_engine.socket_path))
        client.settimeout(TIMEOUT_S)
        client.sendall(b"POST /containers/box/wait?condition=next-exit HTTP/1.1\r\nHost: x\r\n\r\n")
        clients.append(client)
    assert clients[-1].recv(100).startswith(b"HTTP/1.1 200")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(user_engine.socket_path))
        assert client.recv(100).startswith(b"HTTP/1.1 503")
    for client in clients:
        client.close()
    user_engine.wait_until(user_engine.answers)


def test_garbage_is_refused(engine: EngineProcess) -> None:
    for garbage in (b"\x16\x03\x01" + b"x" * 300, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(TIMEOUT_S)
        client.connect(os.fspath(engine.socket_path))
        try:
            client.sendall(garbage + b"\r\n\r\n")
            answer = client.recv(4096)
        except ConnectionError:
            answer = b""
        assert not answer or answer.split()[1] in (b"400", b"431")
        client.close()
    assert engine.answers()
