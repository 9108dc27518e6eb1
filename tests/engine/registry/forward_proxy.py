"""A proxy as companies have them between their machines and the world, for all that is asked."""

from __future__ import annotations

import http.client
import http.server
import select
import socket
import threading
from urllib.parse import urlsplit

BLOCK_BYTES = 64 << 10


class ForwardProxy:
    """Leads everything to *target* (`host:port`); `asked` has what it was asked for."""

    def __init__(self, target: str, authorization: str = "", port: int = 0) -> None:
        self.target = target
        self.authorization = authorization
        self.asked: list[str] = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), _Handler)
        self._server.daemon_threads = True
        self._server.proxy = self  # type: ignore[attr-defined]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing on stderr."""

    def _admitted(self) -> bool:
        proxy: ForwardProxy = self.server.proxy  # type: ignore[attr-defined]
        proxy.asked.append(f"{self.command} {self.path}")
        if self.headers.get("Proxy-Authorization", "") == proxy.authorization:
            return True
        self.send_error(407)
        return False

    def do_CONNECT(self) -> None:
        proxy: ForwardProxy = self.server.proxy  # type: ignore[attr-defined]
        if not self._admitted():
            return
        host, _, port = proxy.target.partition(":")
        with socket.create_connection((host, int(port))) as other:
            self.send_response(200)
            self.end_headers()
            ends = {self.connection: other, other: self.connection}
            while True:
                for end in select.select(list(ends), [], [])[0]:
                    data = end.recv(BLOCK_BYTES)
                    if not data:
                        self.close_connection = True
                        return
                    ends[end].sendall(data)

    def do_GET(self) -> None:
        proxy: ForwardProxy = self.server.proxy  # type: ignore[attr-defined]
        if not self._admitted():
            return
        parts = urlsplit(self.path)
        connection = http.client.HTTPConnection(proxy.target, timeout=20)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        headers = {"Host": parts.netloc, "Accept": ", ".join(self.headers.get_all("Accept", []))}
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        body = response.read()
        self.send_response(response.status)
        for name in ("Content-Type", "Docker-Content-Digest"):
            if value := response.headers.get(name):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        connection.close()
