"""A Docker API client for measuring: one connection kept open, little work per request."""

import http.client
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

DEADLINE_S = 180.0
PIECE_BYTES = 1 << 20


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=DEADLINE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fspath(self._path))


class Client:
    """Requests to the engine at *path*; an answer that was not expected is an error."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = UnixConnection(path)

    def close(self) -> None:
        self._connection.close()

    def call(
        self, method: str, target: str, body: object = None, *, expect: tuple[int, ...] = ()
    ) -> Any:
        """One exchange; the body, decoded if it is JSON."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data else {}
        self._connection.request(method, target, data, headers)
        response = self._connection.getresponse()
        content = response.read()
        wanted = expect or (200, 201, 204)
        if response.status not in wanted:
            raise RuntimeError(f"{method} {target}: {response.status} {content[:300]!r}")
        is_json = (response.getheader("Content-Type") or "").startswith("application/json")
        return json.loads(content) if is_json and content.count(b"\n") <= 1 and content else content

    def create(self, image: str, command: list[str], network: str, **fields: Any) -> str:
        """A container, not started; its id."""
        host = {"NetworkMode": network, **fields.pop("HostConfig", {})}
        body = {"Image": image, "Cmd": command, "HostConfig": host, **fields}
        return str(self.call("POST", "/containers/create", body)["Id"])

    def start(self, container: str) -> None:
        self.call("POST", f"/containers/{container}/start")

    def wait(self, container: str) -> int:
        return int(self.call("POST", f"/containers/{container}/wait")["StatusCode"])

    def remove(self, container: str) -> None:
        self.call("DELETE", f"/containers/{container}?force=1&v=1")

    def end(self, container: str) -> None:
        """Kill and remove a container: who only removes it may be made to wait for its end."""
        self.call("POST", f"/containers/{container}/kill", expect=(204, 404, 409))
        self.remove(container)

    def read(self, target: str) -> int:
        """Read an answer to its end; its length."""
        self._connection.request("GET", target)
        response = self._connection.getresponse()
        total = 0
        while piece := response.read(PIECE_BYTES):
            total += len(piece)
        return total

    def send_file(self, target: str, path: Path, headers: Mapping[str, str]) -> bytes:
        """POST a file; the answer."""
        with path.open("rb") as stream:
            length = {"Content-Length": str(path.stat().st_size), **headers}
            self._connection.request("POST", target, stream, length)
            response = self._connection.getresponse()
            content = response.read()
        _check_progress(response.status, content, target)
        return content

    def follow(self, method: str, target: str, headers: Mapping[str, str]) -> bytes:
        """A request answered with progress messages; errors among them are raised."""
        self._connection.request(method, target, headers=dict(headers))
        response = self._connection.getresponse()
        content = response.read()
        _check_progress(response.status, content, target)
        return content


def _check_progress(status: int, content: bytes, target: str) -> None:
    if status != 200 or b'"errorDetail"' in content:
        raise RuntimeError(f"{target}: {status} {content[-500:]!r}")


def raw_requests(path: Path, request: bytes, stop_s: float) -> Iterator[float]:
    """Send *request* over and over on one connection until *stop_s* have passed; seconds each."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(DEADLINE_S)
        connection.connect(os.fspath(path))
        end_s = time.perf_counter() + stop_s
        while (started_s := time.perf_counter()) < end_s:
            connection.sendall(request)
            _read_answer(connection)
            yield time.perf_counter() - started_s


def _read_answer(connection: socket.socket) -> None:
    """Read one answer, of a length that is given or in chunks."""
    data = _receive(connection)
    while (head_end := data.find(b"\r\n\r\n")) < 0:
        data += _receive(connection)
    head = data[:head_end].lower()
    if not head.startswith(b"http/1.1 200"):
        raise RuntimeError(f"{head[:200]!r}")
    _, found, length = head.partition(b"content-length:")
    if not found:
        while not data.endswith(b"\r\n0\r\n\r\n"):
            data += _receive(connection)
        return
    left = int(length.split(b"\r")[0]) - (len(data) - head_end - 4)
    while left > 0:
        left -= len(_receive(connection))


def _receive(connection: socket.socket) -> bytes:
    piece = connection.recv(PIECE_BYTES)
    if not piece:
        raise ConnectionError("the engine closed the connection")
    return piece
