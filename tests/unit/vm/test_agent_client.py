"""The agent's framing, and the client against an agent of our own."""

import base64
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from orlop.lib.errors import DeadlineExceeded, Unavailable
from orlop.vm import agent_client
from orlop.vm.agent_client import AgentClient, Answer, AnswerReader, Request, parse_answer

ANSWERS = b'{"id": 7, "status": 0, "stdout": "aGk=", "stderr": ""}\n{"id": 8, "status": 137}\n'


def test_request() -> None:
    value = json.loads(Request(1, ("sh", "-c", "true"), b"in", 5.0).encode())
    assert value == {
        "id": 1,
        "argv": ["sh", "-c", "true"],
        "stdin": base64.b64encode(b"in").decode(),
        "timeout_s": 5.0,
    }


@pytest.mark.parametrize("step", [1, 9, len(ANSWERS)])
def test_answers_however_they_arrive(step: int) -> None:
    reader = AnswerReader()
    found: list[Answer] = []
    for start in range(0, len(ANSWERS), step):
        found += reader.feed(ANSWERS[start : start + step])
    assert found == [Answer(7, 0, b"hi"), Answer(8, 137)]


@pytest.mark.parametrize(
    "line", [b"", b"x", b"[]", b'{"status": 0}', b'{"id": "1"}', b'{"id": 1, "stdout": "%%"}']
)
def test_what_is_no_answer(line: bytes) -> None:
    assert parse_answer(line) is None


def test_an_answer_without_an_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_client, "ANSWER_LIMIT_BYTES", 10)
    with pytest.raises(Unavailable):
        AnswerReader().feed(b"x" * 11)


class FakeAgent:
    """Listens as QEMU does and answers every request with *answer* of its id."""

    def __init__(self, path: Path, answers: list[bytes]) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._answers = answers
        self.on_request: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection, connection.makefile("rb") as stream:
            for line in stream:
                if not line.strip():
                    continue
                request = json.loads(line)
                self.on_request()
                for answer in self._answers:
                    connection.sendall(answer.replace(b"ID", str(request["id"]).encode()))

    def close(self) -> None:
        self._thread.join()
        self._listener.close()


def test_client_skips_what_is_not_its_answer(tmp_path: Path) -> None:
    rest = b'tus": 0}\n{"id": 3, "status": 1}\n{"id": ID, "status": 5, "stdout": "aGk="}\n'
    agent = FakeAgent(tmp_path / "agent.sock", [rest])
    client = AgentClient(tmp_path, "agent.sock")
    answer = client.run(["true"], timeout_s=5)
    assert (answer.status, answer.stdout) == (5, b"hi")
    client.close()
    agent.close()


def test_silence_has_an_end(tmp_path: Path) -> None:
    agent = FakeAgent(tmp_path / "agent.sock", [])
    client = AgentClient(tmp_path, "agent.sock")
    with pytest.raises(DeadlineExceeded):
        client.run(["sleep"], timeout_s=0.0, slack_s=0.05)
    agent.close()


@pytest.mark.parametrize(
    "said", [b'{"event": "down"}\n', b'{"event": "stage", "name": "kernel"}\n']
)
def test_a_guest_that_went_down_does_not_answer_any_more(tmp_path: Path, said: bytes) -> None:
    log = tmp_path / "boot.log"
    log.write_bytes(b'{"event": "stage", "name": "kernel"}\n{"event": "ready"}\n')
    agent = FakeAgent(tmp_path / "agent.sock", [])
    agent.on_request = lambda: append(log, said)
    client = AgentClient(tmp_path, "agent.sock")
    with pytest.raises(Unavailable, match="went down"):
        client.run(["reboot"], timeout_s=600)
    agent.close()


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as stream:
        stream.write(data)


def test_no_machine(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        AgentClient(tmp_path, "agent.sock").run(["true"])


def test_what_the_agent_could_not_run(tmp_path: Path) -> None:
    agent = FakeAgent(tmp_path / "agent.sock", [b'{"id": ID, "error": "no such file"}\n'])
    client = AgentClient(tmp_path, "agent.sock")
    with pytest.raises(Unavailable, match="no such file"):
        client.run(["nope"])
    client.close()
    agent.close()
