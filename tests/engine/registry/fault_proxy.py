"""A proxy before a registry that does what networks and bad registries do, on request."""

from __future__ import annotations

import http.client
import http.server
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_HOP = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive"})


@dataclass
class Fault:
    """What happens to requests that match *pattern* (`METHOD path`), *times* times.

    *status* answers without asking the registry. *cut_after* sends so many bytes of the body, then
    drops the connection. *change* alters the body, *drop_ranges* answers as a server without them.
    """

    pattern: str
    times: int = 1
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut_after: int = -1
    change: Callable[[bytes], bytes] | None = None
    drop_ranges: bool = False
    redirect: str = ""
    seen: int = 0

    def matches(self, line: str) -> bool:
        return self.seen < self.times and re.search(self.pattern, line) is not None


class FaultProxy:
    """Listens on loopback; `requests` is what came, `METHOD path` each, with its Range if any."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def add(self, fault: Fault) -> Fault:
        with self.lock:
            self.faults.append(fault)
        return fault

    def count(self, pattern: str) -> int:
        with self.lock:
            return sum(re.search(pattern, line) is not None for line in self.requests)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    proxy: FaultProxy

    def handle_error(self, request: object, client_address: object) -> None:
        """Cut connections are what this is for."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        pass

    def _serve(self) -> None:
        proxy = self.server.proxy
        line = f"{self.command} {self.path}"
        shown = line + (f" {self.headers['Range']}" if "Range" in self.headers else "")
        body = self._body()
        with proxy.lock:
            proxy.requests.append(shown)
            fault = next((f for f in proxy.faults if f.matches(shown)), None)
            if fault is not None:
                fault.seen += 1
        if fault is not None and fault.status:
            self._answer(fault.status, dict(fault.headers), fault.body, -1)
            return
        headers = {key: value for key, value in self.headers.items() if key.lower() not in _HOP}
        if fault is not None and fault.drop_ranges:
            headers.pop("Range", None)
        upstream = http.client.HTTPConnection(proxy.target, timeout=30)
        try:
            upstream.request(self.command, self.path, body, headers)
            response = upstream.getresponse()
            data = response.read()
            fields = {k: v for k, v in response.headers.items() if k.lower() not in _HOP}
            length = response.headers.get("Content-Length")
        finally:
            upstream.close()
        if fault is not None and fault.change is not None:
            data = fault.change(data)
        if self.command == "HEAD" and length is not None:
            fields["Content-Length"] = length
        self._answer(response.status, fields, data, fault.cut_after if fault else -1)

    def _body(self) -> bytes:
        if (length := self.headers.get("Content-Length")) is not None:
            return self.rfile.read(int(length))
        return b""

    def _answer(self, status: int, headers: Mapping[str, str], data: bytes, cut_after: int) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if self.command != "HEAD" and status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if cut_after >= 0:
            self.wfile.write(data[:cut_after])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(data)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815
