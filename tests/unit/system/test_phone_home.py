"""`cloud.phone_home`: when it is done, and what a try sends."""

from __future__ import annotations

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from orlop.engine.registry.settings import Registries
from orlop.engine.registry.tls import Contexts
from orlop.lib.errors import OrlopError
from orlop.system.cloud import phone_home
from orlop.system.cloud.phone_home_worker import post, values
from orlop.system.config.configuration import Configuration
from orlop.system.network import online

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Boot:
    """The part of PID 1 that takes part; tries end as *outcomes* say."""

    def __init__(self, outcomes: list[object], **wanted: Any) -> None:
        self.config = SimpleNamespace(
            current=Configuration(
                {"phone_home": {"url": "http://home.example/$INSTANCE_ID", **wanted}},
                cloud={"source": "nocloud", "instance_id": "i 1"},
            ),
            actions=SimpleNamespace(instance=lambda _: "nocloud:i 1"),
        )
        self.children = None
        self.conditions = SimpleNamespace(has_run="")
        self.warned: list[str] = []
        self.images = SimpleNamespace(registries=Registries)
        self.machine = SimpleNamespace(warn=self.warned.append)
        self.services = SimpleNamespace(names=list)
        self.outcomes = outcomes
        self.sent: list[dict[str, Any]] = []

    def call(self, directory: Path, patch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
        """What it has sent."""

        async def send(_: object, request: dict[str, Any]) -> object:
            self.sent.append(request)
            outcome = self.outcomes.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        async def nothing(*_: object) -> bool:
            return True

        with patch.context() as inner:
            inner.setattr(phone_home, "send", send)
            inner.setattr(online, "wait", nothing)
            inner.setattr(phone_home, "FIRST_PAUSE_S", 0.0)
            asyncio.run(phone_home.call(self, str(directory / "config/called.json")))  # type: ignore[arg-type]
        return self.sent


def test_once_on_an_instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boot = Boot([OrlopError("not yet"), 200], post=["instance_id", "fqdn"])
    first, second = boot.call(tmp_path, monkeypatch)
    assert first == second
    assert (first["url"], first["names"]) == (
        "http://home.example/i%201",
        ["instance_id", "fqdn"],
    )
    assert first["known"]["instance_id"] == "i 1"
    assert Boot([]).call(tmp_path, monkeypatch) == []


def test_in_vain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boot = Boot([OrlopError("refused"), OSError("gone")], tries=2)
    assert len(boot.call(tmp_path, monkeypatch)) == 2
    assert boot.warned == ["phone_home: http://home.example/i%201: gone; tried 2 times"]
    # It is not done, so the next boot does it.
    assert len(Boot([204]).call(tmp_path, monkeypatch)) == 1


def test_without_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boot = Boot([], url=None)
    assert boot.call(tmp_path, monkeypatch) == []
    assert boot.warned == ["configuration: phone_home: has no url, ignoring"]


class Home(BaseHTTPRequestHandler):
    """Answers with the status that the path says."""

    def do_POST(self) -> None:
        assert isinstance(self.server, HomeServer)
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.taken.append((self.headers["Content-Type"], body))
        self.send_response(int(self.path.strip("/")))
        self.send_header("Location", "/there")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing on stderr."""


class HomeServer(HTTPServer):
    """*taken* are content types and bodies."""

    taken: list[tuple[str, str]]


@pytest.fixture
def home() -> Iterator[HomeServer]:
    with HomeServer(("127.0.0.1", 0), Home) as server:
        server.taken = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_form_is_posted(home: HomeServer) -> None:
    contexts = Contexts(Registries(), [])
    url = f"http://127.0.0.1:{home.server_port}"
    form = values(["fqdn", "pub_key_rsa", "other"], {"fqdn": "a b&c"}, {"pub_key_rsa": "broken"})
    for status in (200, 204, 302):
        assert post(contexts, f"{url}/{status}", form) == status
    text = "fqdn=a+b%26c&pub_key_rsa=N%2FA&other=N%2FA"
    assert home.taken == [("application/x-www-form-urlencoded", text)] * 3
    for status, reason in ((503, "answered 503"), (404, "answered 404"), (308, "at /there now")):
        with pytest.raises(OrlopError, match=reason):
            post(contexts, f"{url}/{status}", form)
