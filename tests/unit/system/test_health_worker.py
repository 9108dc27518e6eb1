"""The worker of the machine's health: what it asks servers and the user's engine, on loopback."""

from __future__ import annotations

import http.server
import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from orlop.system.health.worker import judge_container, said

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUNNING: dict[str, Any] = {
    "Running": True,
    "Status": "running",
    "StartedAt": "2026-01-01T00:00:00Z",
}
STARTED_S = 1767225600.0


class Answers(http.server.BaseHTTPRequestHandler):
    """A web server and an engine in one: /containers/NAME/..., and /STATUS."""

    def address_string(self) -> str:
        return "somebody"

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""

    def answer(self, status: int, body: object = "") -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        match self.path.strip("/").split("/"):
            case ["containers", "web", "json"]:
                self.answer(200, {"State": RUNNING, "RestartCount": 0})
            case ["exec", name, "json"]:
                self.answer(200, {"Running": False, "ExitCode": int(name)})
            case [status] if status.isdecimal():
                self.answer(int(status))
            case _:
                self.answer(404, {"message": "nothing"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        match self.path.strip("/").split("/"):
            case ["containers", "web", "exec"]:
                self.answer(201, {"Id": body["Cmd"][1]})
            case ["exec", _, "start"]:
                self.send_response(200)
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(b"one\r\ntwo \x1b[1mlast\r\n")
            case _:
                self.answer(404, {"message": "No such container"})


class Unix(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """The path of an engine, and the port of a web server."""
    path = str(tmp_path / "engine.sock")
    Answers.protocol_version = "HTTP/1.1"
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    engine = Unix(path, Answers)
    for server in (web, engine):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield path, web.server_address[1]
    for server in (web, engine):
        server.shutdown()
        server.server_close()


def ask(path: str, *checks: dict[str, object], limit_s: float = 60) -> list[list[str]]:
    """What the worker answers."""
    defaults = {"command": [], "status": 0, "insecure": False, "timeout_s": 30}
    request = {
        "checks": [{**defaults, **check} for check in checks],
        "limit_s": limit_s, "settle_s": 60, "socket": path,
    }  # fmt: skip
    reading, writing = os.pipe()
    os.write(writing, json.dumps(request).encode())
    os.close(writing)
    done = subprocess.run(
        [sys.executable, "-m", "orlop", "worker", "health"],
        stdin=reading, capture_output=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    os.close(reading)
    assert done.returncode == 0, done
    found: list[list[str]] = json.loads(done.stdout)["found"]
    return found


def test_kinds(servers: tuple[str, int]) -> None:
    path, port = servers
    web = f"http://127.0.0.1:{port}"
    with socket.create_server(("127.0.0.1", 0)) as closed:
        free = closed.getsockname()[1]
    found = ask(
        path,
        {"kind": "tcp", "target": f"localhost:{port}"},
        {"kind": "tcp", "target": f"127.0.0.1:{free}"},
        {"kind": "http", "target": f"{web}/204"},
        {"kind": "http", "target": f"{web}/500"},
        {"kind": "http", "target": f"{web}/503", "status": 503},
        {"kind": "http", "target": f"https://127.0.0.1:{port}/", "insecure": True},
        {"kind": "state", "target": "web"},
        {"kind": "state", "target": "other"},
        {"kind": "exec", "target": "web", "command": ["check", "0"]},
        {"kind": "exec", "target": "web", "command": ["check", "3"]},
        {"kind": "exec", "target": "other", "command": ["check", "3"]},
    )
    assert [row[:2] for row in found] == [
        ["ok", "ok"], ["failed", "unreachable"], ["ok", "ok"], ["failed", "status"], ["ok", "ok"],
        ["failed", "unreachable"], ["ok", "ok"], ["failed", "missing"], ["ok", "ok"],
        ["failed", "status"], ["failed", "missing"],
    ]  # fmt: skip
    assert found[1][2] == "Connection refused"
    assert found[9][2] == "ended with status 3: two [1mlast"


def test_no_engine(tmp_path: Path) -> None:
    ((status, code, text),) = ask(str(tmp_path / "none"), {"kind": "state", "target": "web"})
    assert (status, code) == ("failed", "engine")
    assert "does not answer" in text


def test_who_does_not_answer_has_failed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        (row,) = ask("", {"kind": "http", "target": target, "timeout_s": 60}, limit_s=0.2)
    assert row == ["failed", "timeout", "no answer in time"]


@pytest.mark.parametrize(
    ("state", "restarts", "code"),
    [
        ({}, 0, "ok"),
        ({}, 2, "flapping"),
        ({"StartedAt": "2025-12-31T23:00:00.123456789Z"}, 2, "ok"),
        ({"Running": False, "Status": "exited", "ExitCode": 2}, 0, "stopped"),
        ({"Restarting": True}, 1, "restarting"),
        ({"Paused": True}, 0, "paused"),
        ({"Health": {"Status": "healthy"}}, 0, "ok"),
        ({"Health": {"Status": "starting"}}, 0, "starting"),
        ({"Health": {"Status": "unhealthy"}}, 0, "unhealthy"),
    ],
)
def test_container(state: dict[str, object], restarts: int, code: str) -> None:
    inspection = {"State": {**RUNNING, **state}, "RestartCount": restarts}
    assert judge_container(inspection, 60, STARTED_S + 30)[1] == code


def test_what_a_program_said() -> None:
    assert said(1, b"") == "ended with status 1"
    assert said(2, b"a\n\x1b]0;x\x07b\xff\n") == "ended with status 2: ]0;xb\ufffd"
