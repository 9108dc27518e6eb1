"""`exec` and `docker system dial-stdio`: bytes both ways, half-closes, exit statuses."""

import io
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from orlop.cli.client import Client
from orlop.cli.docker import dial_stdio
from orlop.cli.json_text import decode
from orlop.cli.main import main
from orlop.wire.stdcopy import Stream, encode
from tests.unit.cli.fake_engine import LIMIT_S, FakeEngine

UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"


def read_to_end(connection: socket.socket) -> bytes:
    data = b""
    while part := connection.recv(65536):
        data += part
    return data


def echo(connection: socket.socket, _: bytes) -> None:
    """A program that reads its input to the end and writes it back: with its first bytes early."""
    connection.sendall(UPGRADED + encode(Stream.STDERR, b"ready\n"))
    connection.sendall(encode(Stream.STDOUT, read_to_end(connection)))


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The writing end of a pipe that is this process's descriptor 0."""
    saved = os.dup(0)
    reader, writer = os.pipe()
    os.dup2(reader, 0)
    os.close(reader)
    yield writer
    os.dup2(saved, 0)
    os.close(saved)


def test_exec_passes_input_output_and_status(
    engine: FakeEngine, stdin: int, capfd: pytest.CaptureFixture[str]
) -> None:
    engine.answer("POST /containers/web/exec", {"Id": "e1"}, status=201)
    engine.script("POST /exec/e1/start", echo)
    engine.answer("GET /exec/e1/json", {"ExitCode": 3})
    os.write(stdin, b"hello\n")
    os.close(stdin)
    assert main(["exec", "-i", "-u", "7", "web", "cat", "-n"]) == 3
    assert capfd.readouterr() == ("hello\n", "ready\n")
    request = decode(engine.requests[0][1])
    assert isinstance(request, dict)
    assert request["Cmd"] == ["cat", "-n"]
    assert request["User"] == "7"
    assert request["AttachStdin"] is True


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (400, "exec: no-such: executable file not found in $PATH", 127),
        (400, "exec: /etc/passwd: permission denied", 126),
        (404, "No such container: web", 1),
        (500, "broken", 125),
    ],
)
def test_what_does_not_start_has_dockers_status(
    engine: FakeEngine,
    capsys: pytest.CaptureFixture[str],
    status: int,
    message: str,
    expected: int,
) -> None:
    engine.answer("POST /containers/web/exec", {"Id": "e1"}, status=201)
    engine.answer("POST /exec/e1/start", {"message": message}, status=status)
    assert main(["exec", "web", "no-such"]) == expected
    assert message in capsys.readouterr().err


def test_a_terminal_needs_a_terminal(stdin: int, capsys: pytest.CaptureFixture[str]) -> None:
    os.close(stdin)
    assert main(["exec", "-t", "web", "sh"]) == 2
    assert "needs a terminal" in capsys.readouterr().err


def test_dial_stdio_delivers_the_answer_after_the_end_of_input(engine: FakeEngine) -> None:
    """`docker -H ssh://` over a pipe: request, half-close, then the whole answer must come."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000
    engine.answer_raw("GET /v1.47/info", answer)
    ours, client = socket.socketpair()
    client.settimeout(LIMIT_S)
    received = io.BytesIO()

    def laptop() -> None:
        client.sendall(b"GET /v1.47/info HTTP/1.1\r\nHost: x\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        received.write(read_to_end(client))

    thread = threading.Thread(target=laptop)
    thread.start()
    dial_stdio.dial_stdio(Client().path, ours.fileno(), ours.fileno())
    ours.close()
    thread.join(LIMIT_S)
    client.close()
    assert received.getvalue() == answer


def test_dial_stdio_ends_when_nobody_reads(engine: FakeEngine) -> None:
    """A laptop that vanished while the engine has nothing to say leaves no process behind."""
    released = threading.Event()

    asked = threading.Event()

    def say_nothing(*_: object) -> None:
        asked.set()
        released.wait(LIMIT_S)

    engine.script("GET /events", say_nothing)
    input_reader, input_writer = os.pipe()
    output_reader, output_writer = os.pipe()
    thread = threading.Thread(
        target=dial_stdio.dial_stdio, args=(Client().path, input_reader, output_writer)
    )
    thread.start()
    os.write(input_writer, b"GET /events HTTP/1.1\r\n\r\n")
    assert asked.wait(LIMIT_S)
    os.close(output_reader)
    thread.join(LIMIT_S)
    assert not thread.is_alive()
    released.set()
    for descriptor in (input_reader, input_writer, output_writer):
        os.close(descriptor)
