"""The server's side of connections."""

from __future__ import annotations

import http.client
import socket
import threading
from contextlib import closing
from pathlib import Path

import pytest
from orlop_fleet import main, server
from orlop_fleet.documents import Wrong
from orlop_fleet.store import Sqlite, Unavailable


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


def test_a_disk_that_takes_nothing_is_a_store_that_does_not_answer(tmp_path: Path) -> None:
    """And the same store goes on when there is room again."""
    store = Sqlite(str(tmp_path / "db"))
    with closing(store):
        store.create("default")
        fleet = server.Fleet(store, server.Options())
        body = b'{"client_params": {"id": "m1", "group": "default"}}'
        headers = {"fleet-lock-protocol": "true"}
        store._db.execute("PRAGMA query_only = 1")
        with pytest.raises(Unavailable, match="SQLite"):
            fleet.machine("/v1/pre-reboot", headers, body)
        store._db.execute("PRAGMA query_only = 0")
        fleet.machine("/v1/pre-reboot", headers, body)
        assert [*store.groups()["default"].holders] == ["m1"]


def test_wrong_settings_make_no_group(tmp_path: Path) -> None:
    store = Sqlite(str(tmp_path / "db"))
    with closing(store):
        fleet = server.Fleet(store, server.Options(people="t"))
        headers = {"Authorization": "Bearer t"}
        with pytest.raises(Wrong, match="slots"):
            fleet.person("PUT", ["wrokers"], headers, b'{"slots": "many"}')
        assert store.groups() == {}


def test_what_is_nested_too_deeply_is_no_request(tmp_path: Path) -> None:
    store = Sqlite(str(tmp_path / "db"))
    with closing(store):
        fleet = server.Fleet(store, server.Options(people="t"))
        deep = b"[" * 100_000
        with pytest.raises(Wrong, match="no JSON"):
            fleet.machine("/v1/pre-reboot", {"fleet-lock-protocol": "true"}, deep)
        with pytest.raises(server.Refused, match="no JSON"):
            fleet.person("PUT", ["web"], {"Authorization": "Bearer t"}, deep)


def test_a_token_that_a_power_cut_left_empty_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.touch()
    (tmp_path / "token.new").write_text("half")
    main.make_token(path)
    made = path.read_text()
    assert len(made) == 65
    assert path.stat().st_mode & 0o777 == 0o600
    main.make_token(path)
    assert path.read_text() == made
    assert [entry.name for entry in tmp_path.iterdir()] == ["token"]
