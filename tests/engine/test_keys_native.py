"""Keys of the configuration at work, with PID 1 as a whole in namespaces; many in one machine."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.native_machine import NativeMachine
from tests.engine.services.namespaces import wait_until
from tests.engine.test_config_native import config, inside
from tests.engine.test_pid1_native import STAY, by_name

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.engine]

DEBUG = "<31>orlop: "
"""Facility and level of a line of the kernel log that only debugging shows."""

SERVICES: dict[str, dict[str, Any]] = {
    "network": {**STAY, "x-orlop": {"config": True}},
    "console": {**STAY, "read_only": True},
    "deaf": {"command": ["/bin/sleep", "1000"], "stop_grace_period": "1000s"},
}
DOCUMENT = """\
write_files:
  - {path: /etc/plain, content: aGVsbG8=, encoding: b64, owner: rancher, permissions: "0600"}
  - {path: /etc/packed, content: "H4sIAAAAAAACA8tIzcnJBwCGphA2BQAAAA==", encoding: gz+b64}
  - {path: /etc/theirs, content: x, owner: "7:8"}
hostname: short
fqdn: ship-1.example
orlop:
  shutdown_timeout: 5
  network: {wait_online: 1}
  environment: {TOKEN: a1b2, "own/OTHER": c3d4}
  services:
    own:
      definition:
        image: console
        environment: [TOKEN, OTHER]
        command: ["/bin/sh", "-c", "echo got $$TOKEN $$OTHER"]
        depends_on: {network: {condition: service_healthy}}
"""


@pytest.fixture
def machine() -> Iterator[NativeMachine]:
    with NativeMachine(SERVICES) as running:
        running.wait_ready()
        yield running


def test_keys(machine: NativeMachine) -> None:
    assert DEBUG not in machine.log()
    assert config(machine, "set", "orlop.debug", "true")[0] == 0
    code, _, errors = config(machine, "merge", "-", stdin=DOCUMENT)
    assert code == 0, errors
    status = machine.wait_for(lambda found: by_name(found).get("own", {}).get("state") == "done")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(machine.path("/run/orlop/system.sock")))
        client.sendall(b"no request at all\r\n\r\n")
        while client.recv(4096):
            pass
    wait_until(lambda: f"{DEBUG}a client broke the rules" in machine.log(), "a line of debugging")
    assert "there is no network after 1 s: what waited for it goes on without" in machine.log()
    _, said = machine.request("GET", "/containers/own/logs?stdout=1")
    assert b"got a1b2 c3d4" in said

    names = ("plain", "packed", "theirs")
    plain, packed, theirs = (inside(machine, "console", f"/etc/{name}") for name in names)
    assert plain.read_text() == packed.read_text() == "hello"
    assert (plain.stat().st_uid, plain.stat().st_gid) == (1100, 1100)
    assert plain.stat().st_mode & 0o777 == 0o600
    assert (theirs.stat().st_uid, theirs.stat().st_gid) == (7, 8)

    hosts = machine.path("/run/orlop/etc/hosts")
    assert status["hostname"] == "short"
    assert "127.0.1.1 ship-1.example short\n" in hosts.read_text()
    assert config(machine, "set", "prefer_fqdn_over_hostname", "true")[0] == 0
    machine.wait_for(lambda found: found["hostname"] == "ship-1.example")

    locked = f"$pbkdf2-sha512$1000${'ab' * 16}${'cd' * 64}"
    assert config(machine, "set", "orlop.recovery.password", locked)[0] == 0
    kept = machine.path("/var/lib/orlop/recovery.hash")
    assert kept.read_text().strip() == locked
    assert kept.stat().st_mode & 0o777 == 0o600

    # A container that does not listen gets no longer than all of them together.
    assert machine.request("POST", "/orlop/poweroff")[0] == 202
    assert machine.wait_end(120) in (-signal.SIGINT, 128 + signal.SIGINT)
