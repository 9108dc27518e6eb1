"""The agent over a socket pair, which hangs up like a virtio port when the host leaves."""

import base64
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orlop.services.agent.jobs import MAX_OUTPUT_BYTES
from orlop.services.agent.service import Agent, find_port
from tests.engine.services.namespaces import wait_until

pytestmark = pytest.mark.engine

type Answer = dict[str, object]


class Host:
    """The host's end of the port."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        connection.settimeout(60)
        self._stream = connection.makefile("rb")

    def close(self) -> None:
        self._stream.close()
        self.connection.close()

    def ask(self, identifier: object, *argv: str, **options: object) -> None:
        line = json.dumps({"id": identifier, "argv": list(argv), **options})
        self.connection.sendall(line.encode() + b"\n")

    def answer(self) -> Answer:
        found = json.loads(self._stream.readline())
        assert isinstance(found, dict)
        return found

    def call(self, *argv: str, **options: object) -> Answer:
        self.ask("call", *argv, **options)
        return self.answer()


@pytest.fixture
def host() -> Iterator[Host]:
    ours, theirs = socket.socketpair()
    port = os.dup(theirs.fileno())
    theirs.close()

    def serve() -> None:
        with pytest.raises(OSError):
            Agent(port).run()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    host = Host(ours)
    yield host
    host.close()
    os.close(port)  # the port is unplugged: the agent ends with an error
    thread.join(30)
    assert not thread.is_alive()


def text(answer: Answer, key: str = "stdout") -> str:
    value = answer[key]
    assert isinstance(value, str)
    return base64.b64decode(value).decode()


def test_output_and_status(host: Host) -> None:
    answer = host.call("sh", "-c", "echo out; echo err >&2; exit 3")
    assert (text(answer), text(answer, "stderr"), answer["status"]) == ("out\n", "err\n", 3)


def test_input(host: Host) -> None:
    data = b"x" * 300_000
    answer = host.call("sh", "-c", "wc -c", stdin=base64.b64encode(data).decode())
    assert text(answer).strip() == "300000"


def test_input_that_nobody_reads(host: Host) -> None:
    answer = host.call("true", stdin=base64.b64encode(b"x" * 300_000).decode())
    assert answer["status"] == 0


def test_several_at_once(host: Host) -> None:
    host.ask("slow", "sh", "-c", "read x; echo slow", timeout_s=60)
    host.ask("also slow", "sleep", "0.3")
    host.ask("quick", "echo", "quick")
    identifiers = [host.answer()["id"] for _ in range(3)]
    assert sorted(map(str, identifiers)) == ["also slow", "quick", "slow"]
    assert identifiers[-1] == "also slow"


def test_time_limit_kills_the_whole_group(host: Host) -> None:
    answer = host.call("sh", "-c", "sleep 1000 & echo $!; wait", timeout_s=0.5)
    assert answer["status"] == -9
    assert answer["timed_out"] is True
    child = int(text(answer))
    wait_until(lambda: is_dead(child), "end of the background process")


def is_dead(process_id: int) -> bool:
    """Gone, or waiting to be reaped by whoever inherited it."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().split()[2] == "Z"
    except FileNotFoundError:
        return True


def test_a_background_process_does_not_hold_up_the_answer(host: Host) -> None:
    answer = host.call("sh", "-c", "sleep 1000 & echo started", timeout_s=50)
    assert (text(answer), answer["status"]) == ("started\n", 0)


def test_output_is_bounded(host: Host) -> None:
    answer = host.call("sh", "-c", f"head -c {MAX_OUTPUT_BYTES + 1000} /dev/zero")
    assert len(text(answer)) == MAX_OUTPUT_BYTES
    assert answer["truncated"] is True


def test_errors_are_answers(host: Host) -> None:
    assert "No such file" in str(host.call("/nonexistent")["error"])
    host.connection.sendall(b'{"id":5,"argv":[]}\n\nnonsense\n')
    assert host.answer() == {"id": 5, "error": "argv must be a list of strings, not empty"}
    assert host.answer()["id"] is None
    assert host.call("true")["status"] == 0


def test_request_in_pieces(host: Host) -> None:
    for byte in b'{"id":1,"argv":["echo","slowly"]}\n':
        host.connection.sendall(bytes([byte]))
    assert text(host.answer()) == "slowly\n"


def test_no_port_on_this_machine() -> None:
    assert find_port("org.orlop.none.0", "/nonexistent") is None
