"""An engine that says what the test tells it to, on a real Unix socket, in a thread."""

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path

type Script = Callable[[socket.socket, bytes], None]

LIMIT_S = 10


class FakeEngine:
    """Answers each request by its method and target, with or without its query; remembers all."""

    def __init__(self, path: Path) -> None:
        self.requests: list[tuple[str, bytes]] = []
        self._scripts: dict[str, Script] = {}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def answer(self, request: str, value: object = None, status: int = 200) -> None:
        """Answer *request* (`GET /version`) with *value* as JSON."""
        body = b"" if value is None else json.dumps(value).encode()
        head = f"HTTP/1.1 {status} Text\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        self.answer_raw(request, head + body)

    def answer_raw(self, request: str, data: bytes) -> None:
        """Answer *request* with the bytes *data*."""
        self._scripts[request] = lambda connection, _: connection.sendall(data)

    def script(self, request: str, script: Script) -> None:
        """Let *script* have the connection once *request* has come; it gets the body too."""
        self._scripts[request] = script

    def asked(self) -> list[str]:
        """What was asked, in order: `GET /version`."""
        return [request for request, _ in self.requests]

    def close(self) -> None:
        """Stop, and wait for the thread."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(LIMIT_S)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(LIMIT_S)
                self._handle(connection)

    def _handle(self, connection: socket.socket) -> None:
        head, body = b"", b""
        while b"\r\n\r\n" not in head:
            part = connection.recv(65536)
            if not part:
                return  # it went away before it asked
            head += part
        head, _, body = head.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        length = next(
            (int(line.split(":")[1]) for line in lines if line.startswith("Content-Length")), 0
        )
        while len(body) < length:
            body += connection.recv(65536)
        request = lines[0].removesuffix(" HTTP/1.1")
        self.requests.append((request, body))
        script = self._scripts.get(request) or self._scripts.get(request.partition("?")[0])
        if script is None:
            message = b'{"message": "no such thing"}'
            connection.sendall(
                b"HTTP/1.1 404 No\r\nContent-Length: %d\r\n\r\n" % len(message) + message
            )
            return
        script(connection, body)
