"""`phone_home` with PID 1 as a whole: by HTTPS, an own authority and a proxy, at the second try."""

from __future__ import annotations

import json
import os
import ssl
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import pytest

from tests.engine.native_machine import NativeMachine
from tests.engine.registry.forward_proxy import ForwardProxy
from tests.engine.registry.token_server import Authority
from tests.engine.services.namespaces import wait_until
from tests.engine.test_config_native import inside
from tests.engine.test_pid1_native import STAY, by_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.engine]

ELSEWHERE = "203.0.113.5"
"""An address of the documentation's: nothing leads there but a proxy."""
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5"
CONF, OWN_KEY = "/var/lib/orlop/conf.d/10.yml", "/var/lib/orlop/ssh/ssh_host_ed25519_key.pub"
CALLED = "/var/lib/orlop/config/called.json"


SERVICES: dict[str, dict[str, Any]] = {
    "ssh": STAY,
    "gate": {"command": ["/bin/sh", "-c", "until [ -e /run/open ]; do sleep 0.1; done"]},
    "late": {**STAY, "depends_on": {"gate": {"condition": "service_completed_successfully"}}},
}
"""The machine is not ready before the gate is open: there is time to configure it."""


class Home(ThreadingHTTPServer):
    """Says at first that it cannot; *taken* are paths and forms after that."""

    def __init__(self, certificate: tuple[Path, Path]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.refused = 0
        self.taken: list[tuple[str, dict[str, str]]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        home: Any = self.server
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if home.refused:
            home.taken.append((self.path, dict(parse_qsl(form))))
        home.refused += 1
        self.send_response(200 if home.taken else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing on stderr."""


def within[T](machine: NativeMachine, make: Callable[[], T]) -> T:
    """What *make* makes in the network of *machine*."""
    made: list[T] = []
    network = os.open(f"/proc/{machine.pid}/ns/net", os.O_CLOEXEC)

    def work() -> None:
        os.setns(network, os.CLONE_NEWNET)
        made.append(make())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    os.close(network)
    return made[0]


def test_a_machine_calls_home(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate = authority.issue("home", ELSEWHERE)
    document = {
        "hostname": "ship",
        "fqdn": "ship.example",
        "phone_home": {
            "url": f"https://{ELSEWHERE}/up/$INSTANCE_ID/",
            "post": ["hostname", "fqdn", "pub_key_ed25519", "pub_key_rsa", "instance_id"],
            "tries": 20,
        },
        "ca_certs": {"trusted": [authority.path.read_text()]},
        "orlop": {
            "network": {"wait_online": 120},
            "engine": {"https_proxy": "http://me:my%3Aself@127.0.0.1:3128"},
        },
    }
    with NativeMachine(SERVICES) as machine:
        machine.wait_for(lambda found: by_name(found).get("gate", {}).get("state") == "running")
        machine.path(CONF).write_text(f"#cloud-config\n{json.dumps(document)}\n")
        machine.path(OWN_KEY).parent.mkdir()
        machine.path(OWN_KEY).write_text(f"{KEY}\n")
        status, answer = machine.request("POST", "/orlop/config/reload")
        assert (status, answer["problems"]) == (200, [])
        inside(machine, "gate", "/run/open").touch()
        machine.wait_ready()
        home = within(machine, lambda: Home(certificate))
        credentials = f"Basic {b64encode(b'me:my:self').decode()}"
        target = f"127.0.0.1:{home.server_port}"
        proxy = within(machine, lambda: ForwardProxy(target, credentials, 3128))
        try:
            assert "phone_home" not in machine.log()  # there is no network yet
            machine.path("/run/orlop/network/online").touch()
            called = machine.path(CALLED)
            wait_until(called.exists, f"the note {machine.log()}")
            [(path, form)] = home.taken
        finally:
            proxy.stop()
            home.shutdown()
            home.server_close()
        assert form == {
            "hostname": "ship",
            "fqdn": "ship.example",
            "pub_key_ed25519": KEY,
            "pub_key_rsa": "N/A",
            "instance_id": form["instance_id"],
        }
        assert path == f"/up/{form['instance_id']}/"
        assert {*proxy.asked} == {f"CONNECT {ELSEWHERE}:443"}
        assert f"/up/{form['instance_id']}/: the server answered 503" in machine.log()
        assert "has taken it, with status 200" in machine.log()
        assert json.loads(called.read_text()) == {"instance": form["instance_id"]}
