"""QEMU's machine protocol: the stream, and the client against a QEMU of our own."""

import json
import socket
import threading
from pathlib import Path

import pytest

from orlop.lib.errors import DeadlineExceeded, Unavailable
from orlop.vm.qmp import Qmp, QmpError, QmpReader, as_event

STREAM = b'{"QMP": {}}\r\n{"return": {}}\r\n{"event": "RESET", "data": {"guest": true}}\r\n'


@pytest.mark.parametrize("step", [1, 11, len(STREAM)])
def test_however_it_arrives(step: int) -> None:
    reader = QmpReader()
    found: list[dict[str, object]] = []
    for start in range(0, len(STREAM), step):
        found += reader.feed(STREAM[start : start + step])
    assert [next(iter(message)) for message in found] == ["QMP", "return", "event"]


@pytest.mark.parametrize("line", [b"x\n", b"[]\n", b"\xff\n"])
def test_what_is_not_the_protocol(line: bytes) -> None:
    with pytest.raises(Unavailable):
        QmpReader().feed(line)


def test_events() -> None:
    event = as_event({"event": "RESET", "data": {"guest": True}})
    assert event is not None
    assert event.data["guest"] is True
    assert as_event({"return": {}}) is None


class FakeQemu:
    """Greets, and answers each command by a table of lines."""

    def __init__(self, path: Path, answers: dict[str, list[object]]) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        greeting: dict[str, list[object]] = {"qmp_capabilities": [{"return": {}}]}
        self._answers = greeting | answers
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection, connection.makefile("rb") as stream:
            connection.sendall(b'{"QMP": {"version": {}}}\n')
            for line in stream:
                for answer in self._answers.get(json.loads(line)["execute"], []):
                    connection.sendall(json.dumps(answer).encode() + b"\n")
                if json.loads(line)["execute"] == "quit":
                    return

    def close(self) -> None:
        self._thread.join()
        self._listener.close()


def test_conversation(tmp_path: Path) -> None:
    qemu = FakeQemu(
        tmp_path / "qmp.sock",
        {
            "stop": [{"event": "STOP"}, {"return": {"ok": 1}}],
            "device_add": [{"error": {"class": "GenericError", "desc": "no such bus"}}],
            "cont": [{"return": {}}, {"event": "RESUME"}],
            "quit": [],
        },
    )
    with Qmp(tmp_path, "qmp.sock") as qmp:
        assert qmp.execute("stop") == {"ok": 1}
        assert [event.name for event in qmp.events_nowait()] == ["STOP"]
        with pytest.raises(QmpError, match="no such bus"):
            qmp.execute("device_add", {"id": "x"})
        qmp.execute("cont")
        assert qmp.wait_for_event({"RESUME"}, 5).name == "RESUME"
        with pytest.raises(DeadlineExceeded):
            qmp.execute("silent", timeout_s=0.01)
        with pytest.raises(Unavailable):
            qmp.execute("quit")
    qemu.close()


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        Qmp(tmp_path, "qmp.sock")
