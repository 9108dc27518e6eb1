"""Proxies, and what a settings file says of registries."""

from __future__ import annotations

import base64
import http.server
import json
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engine.registry.conftest import Engine, noise_layer, run_engine
from tests.engine.registry.forward_proxy import ForwardProxy
from tests.engine.registry.registry_host import Registry, bcrypt
from tests.engine.registry.token_server import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.engine]

ELSEWHERE = "203.0.113.5"
"""An address of the documentation's: nothing leads there but a proxy."""


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="settings-") as path:
        yield Path(path)


def test_a_registry_behind_a_proxy_with_its_own_authority_and_password(
    images: Path, loopback: None, directory: Path
) -> None:
    authority = Authority(directory)
    (directory / "htpasswd").write_text(f"ann:{bcrypt('secret')}\n")
    registry = Registry(
        directory / "registry",
        {"htpasswd": {"realm": "test", "path": str(directory / "htpasswd")}},
        tls=authority.issue("server", ELSEWHERE),
        authorization="Basic " + base64.b64encode(b"ann:secret").decode(),
    )
    registry.start()
    pair = base64.b64encode(b"me:my:self").decode()
    proxy = ForwardProxy(registry.host, authorization=f"Basic {pair}")
    settings = {
        "https_proxy": f"http://me:my%3Aself@{proxy.host}",
        "insecure_registries": ["plain.example", "10.99.0.0/16"],
        "registry_mirrors": ["https://mirror.example"],
        "registries": {
            ELSEWHERE: {
                "authorities": authority.path.read_text(),
                "username": "ann",
                "password": "secret",
            }
        },
    }
    (directory / "settings.json").write_text(json.dumps(settings))
    registry.put_image("far/app", "latest", [noise_layer(1000)])
    try:
        for engine in run_engine(images, f"--settings={directory / 'settings.json'}"):
            engine.pull(f"{ELSEWHERE}/far/app")
            assert set(proxy.asked) == {f"CONNECT {ELSEWHERE}:443"}
            _, image = engine.request("GET", f"/images/{ELSEWHERE}/far/app/json")
            engine.request("POST", f"/images/{image['Id']}/tag?repo={ELSEWHERE}/near/app&tag=1")
            engine.push(f"{ELSEWHERE}/near/app", tag="1")
            # Credentials that a client does bring are the ones that count.
            wrong = {"username": "ann", "password": "wrong"}
            assert "unauthorized" in engine.pull_fails(f"{ELSEWHERE}/far/app", wrong)[1]
            _, info = engine.request("GET", "/info")
            assert info["HttpsProxy"] == f"http://xxxxx:xxxxx@{proxy.host}"
            shown = info["RegistryConfig"]
            assert shown["IndexConfigs"]["plain.example"]["Secure"] is False
            assert "10.99.0.0/16" in shown["InsecureRegistryCIDRs"]
            assert shown["Mirrors"] == ["https://mirror.example/"]
        assert registry.request("GET", "/v2/near/app/tags/list")[0] == 200
    finally:
        proxy.stop()
        registry.stop()


def test_a_proxy_that_is_not_there_is_said(images: Path, loopback: None) -> None:
    proxy = "--https-proxy=http://ann:secret@127.0.0.1:9"
    for engine in run_engine(images, proxy, f"--no-proxy={ELSEWHERE}"):
        reason = "proxyconnect tcp: dial tcp 127.0.0.1:9: connect: connection refused"
        assert reason in engine.pull_fails("203.0.113.6/app")[1]
        assert "proxyconnect" not in engine.pull_fails(f"{ELSEWHERE}/app")[1]


def test_plain_registries_and_downloads_through_a_proxy(
    images: Path, registry: Registry, directory: Path
) -> None:
    registry.put_image("far/plain", "latest", [noise_layer(1000, 2)])
    proxy = ForwardProxy(registry.host)
    options = (f"--http-proxy=http://{proxy.host}", f"--insecure-registry={ELSEWHERE}:80")
    try:
        for engine in run_engine(images, *options):
            # TLS is tried first, directly, and there is nobody.
            engine.pull(f"{ELSEWHERE}:80/far/plain")
            assert f"GET http://{ELSEWHERE}:80/v2/" in proxy.asked
        assert all(f" http://{ELSEWHERE}:80/v2/" in line for line in proxy.asked)
    finally:
        proxy.stop()


class _Files(http.server.BaseHTTPRequestHandler):
    archive = b""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing on stderr."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/root.tar" else 404)
        self.end_headers()
        if self.path == "/root.tar":
            self.wfile.write(self.archive)


def test_images_are_imported_from_addresses(engine: Engine) -> None:
    _Files.archive = noise_layer(1000, 3)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"127.0.0.1:{server.server_port}"
    try:
        status, messages = engine.stream(
            f"/images/create?fromSrc=http://{address}/root.tar&repo=imported"
        )
        assert (status, messages[0]["status"]) == (
            200,
            f"Downloading from http://{address}/root.tar",
        )
        _, image = engine.request("GET", "/images/imported/json")
        assert image["Id"] == messages[-1]["status"]
        assert image["Comment"] == f"Imported from http://{address}/root.tar"
        _, messages = engine.stream(f"/images/create?fromSrc={address}/none&repo=imported")
        assert "404" in messages[-1]["error"]
        assert engine.stream("/images/create?fromSrc=ftp://x/y")[0] == 400
    finally:
        server.shutdown()
        server.server_close()
