"""The server's side of connections."""

from __future__ import annotations

import http.client
import socket
import threading
from contextlib import closing
from pathlib import Path

import pytest
from orlop_fleet import server
from orlop_fleet.store import Sqlite


def test_one_who_is_slow_keeps_nobody_else_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(server, "REQUEST_S", 0.0)
    monkeypatch.setattr(server.Handler, "timeout", None)
    store = Sqlite(str(tmp_path / "db"))
    fleet = server.Fleet(store, server.Options())
    with closing(store), server.Server(("127.0.0.1", 0), fleet) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        address = ("127.0.0.1", found.server_port)
        slow = socket.create_connection(address)
        slow.settimeout(60)
        slow.sendall(b"GET / HTTP/1.1\r\n")
        assert slow.recv(1) == b"", "it was ended"
        monkeypatch.setattr(server, "REQUEST_S", 60.0)
        connection = http.client.HTTPConnection(*address, timeout=60)
        connection.request("GET", "/metrics")
        assert connection.getresponse().status == 200
        connection.close()
        slow.close()
        found.shutdown()
