"""The fleet's server over HTTP: its clients, many machines at once, deaths, two servers."""

from __future__ import annotations

import http.client
import json
import random
import socket
import ssl
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orlop.system.updates import gate_worker
from tests.engine.fleet_server import TOKEN, Etcd, FleetServer

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.engine]

THREADS = 8
LIMIT = 10
BAD_SHARE = 0.3


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FleetServer]:
    with FleetServer(tmp_path) as found:
        yield found


def test_requests_as_its_clients_send_them(server: FleetServer) -> None:
    # Fedora CoreOS's agent: JSON with line ends and without a content type.
    body = '{\n  "client_params": {\n    "id": "c988d2509fdf",\n    "group": "default"\n  }\n}'
    header = {"fleet-lock-protocol": "true"}
    assert server.request("POST", "/v1/pre-reboot", body, **header) == (200, "")
    # curl, as the protocol's document has it, with the older name of the id.
    old = '{"client_params": {"group": "default", "node_uuid": "another"}}'
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    status, answer = server.request("POST", "/v1/pre-reboot", old, **header, **kind)
    assert (status, answer["kind"]) == (409, "all_slots_taken")
    assert answer["value"] == "all 1 slots are taken"
    assert server.request("POST", "/v1/steady-state", old, **header)[0] == 200
    assert server.request("POST", "/v1/steady-state", body, **header) == (200, "")
    assert server.request("POST", "/v1/pre-reboot", old, **header)[0] == 200

    status, answer = server.request("POST", "/v1/pre-reboot", body)
    assert (status, answer["kind"]) == (400, "bad_request")  # without the header
    assert server.machine("pre-reboot", "a", "nobody")[1]["kind"] == "unknown_group"
    assert server.request("POST", "/v1/pre-reboot", "{", **header)[0] == 400
    assert server.request("GET", "/v1/pre-reboot", **header)[0] == 405
    assert server.request("POST", "/v1/pre-reboot", "a" * 300_000, **header)[0] == 413


def test_people(server: FleetServer) -> None:
    assert server.request("GET", "/v1/groups")[0] == 401
    assert server.request("GET", "/v1/groups", Authorization="Bearer nobody")[0] == 401
    done = server.command("set", "web", "slots=2", "canaries=c1", "windows=mon-sun 00:00 1440m")
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["settings"]["slots"] == 2
    assert server.machine("pre-reboot", "a", "web")[1]["kind"] == "canaries_first"
    assert server.command("set", "web", "canaries=").returncode == 0
    assert server.machine("pre-reboot", "a", "web", to="v2", phase="apply")[0] == 200
    done = server.command("set", "web", "slots=none")
    assert done.returncode == 1
    assert done.stderr.startswith("fleet: slots: a number")

    assert server.command("pause", "web", "a", "freeze").returncode == 0
    assert server.machine("pre-reboot", "b", "web")[1]["value"] == "the group is paused: a freeze"
    assert server.command("resume", "web").returncode == 0
    assert server.machine("pre-reboot", "b", "web")[0] == 200
    assert "has not failed" in server.command("release", "web", "a").stderr
    assert server.machine("pre-reboot", "a", "web", phase="failed", result="boom")[0] == 200
    assert server.command("release", "web", "a").returncode == 0
    found = json.loads(server.command("history", "web", "a").stdout)
    assert [(e["what"], e["text"]) for e in found["events"]] == [
        ("locked", "v2"), ("failed", "boom"), ("released", "boom"),
    ]  # fmt: skip
    assert server.command("history", "web", "nobody").returncode == 1

    status, text = server.request("GET", "/metrics")
    assert status == 200
    assert 'fleet_holders{group="web",state="away"} 1\n' in text
    assert 'fleet_requests_total{group="web",request="pre-reboot",answer="paused"} 1\n' in text
    assert 'fleet_outcomes{group="web",target="v2",result="failed"} 1\n' in text


class Simulation:
    """Machines that take a release which does not work on some of them."""

    def __init__(self, servers: list[FleetServer], count: int, seed: int) -> None:
        self.servers = servers
        self._chance = random.Random(seed)
        names = [f"m{number}" for number in range(count)]
        self.bad = {name for name in names if self._chance.random() < BAD_SHARE}
        self._chance.shuffle(names)
        self._lock = threading.Lock()
        self._waiting = names
        self.good: set[str] = set()
        self.affected: set[str] = set()
        self.refusals: set[str] = set()
        self.granted = 0
        self.on_grant: Any = lambda: None

    def ask(self, what: str, name: str, **more: Any) -> tuple[int, Any]:
        """As a machine does: again, with another server, until one answers."""
        while True:
            server = self.servers[hash((name, what, threading.get_ident())) % len(self.servers)]
            for one in (server, *self.servers):
                try:
                    status, answer = one.machine(what, name, **more)
                except (OSError, http.client.HTTPException):
                    continue
                if status != 503:
                    return status, answer

    def run(self) -> None:
        """Until nobody may go any more."""
        threads = [threading.Thread(target=self._work) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _next(self) -> str | None:
        with self._lock:
            return self._waiting.pop() if self._waiting else None

    def _work(self) -> None:
        refused = 0
        while (name := self._next()) is not None and refused < 40:
            status, answer = self.ask("pre-reboot", name, phase="apply", to="v2")
            if status != 200:
                self.refusals.add(answer["kind"])
                refused += 1
                with self._lock:
                    self._waiting.insert(0, name)
                continue
            refused = 0
            with self._lock:
                self.granted += 1
                self.on_grant()
            if name in self.bad:
                self.affected.add(name)
                self.ask("pre-reboot", name, phase="failed", to="v2", result="does not work")
            else:
                assert self.ask("steady-state", name, phase="steady", result="good")[0] == 200
                self.good.add(name)


def test_a_thousand_machines_and_a_server_that_is_killed(tmp_path: Path) -> None:
    with FleetServer(tmp_path) as server:
        server.person("PUT", "/v1/groups/default", {"slots": LIMIT, "failure_ratio": 1,
                                                    "failure_least": 1000})  # fmt: skip
        fleet = Simulation([server], 1000, seed=7)

        def kill() -> None:
            if fleet.granted in (5, 12):
                server.kill()
                server.start()

        fleet.on_grant = kill
        fleet.run()
        group = server.person("GET", "/v1/groups/default")
    assert len(fleet.affected) == LIMIT
    assert fleet.refusals == {"all_slots_taken"}
    assert set(group["holders"]) == fleet.affected
    assert all(holder["failed"] == "does not work" for holder in group["holders"].values())
    assert group["rollouts"]["v2"]["failed"] == LIMIT
    assert len(fleet.good) + LIMIT < 1000


def test_two_servers_on_one_etcd(tmp_path: Path) -> None:
    with Etcd(tmp_path) as etcd:
        servers = [FleetServer(tmp_path / name, FLEET_ETCD=etcd.url) for name in "ab"]
        with servers[0], servers[1]:
            servers[0].person("PUT", "/v1/groups/default", {"slots": 5, "failure_ratio": 0.5,
                                                            "failure_least": 1000})  # fmt: skip
            # As many at once as there can be, at both: no more than there are slots.
            answers: list[int] = []

            def lock(number: int) -> None:
                answers.append(servers[number % 2].machine("pre-reboot", f"n{number}")[0])

            threads = [threading.Thread(target=lock, args=(number,)) for number in range(24)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(answers) == [200] * 5 + [409] * 19
            holders = servers[1].person("GET", "/v1/groups/default")["holders"]
            assert len(holders) == 5
            for name in holders:
                assert servers[0].machine("steady-state", name)[0] == 200

            fleet = Simulation(servers, 100, seed=3)
            dead = []

            def kill() -> None:
                if fleet.granted == 6:
                    servers[0].kill()
                    dead.append(True)

            fleet.on_grant = kill
            fleet.run()
            assert dead
            assert len(fleet.affected) == 5
            group = servers[1].person("GET", "/v1/groups/default")
            assert set(group["holders"]) == fleet.affected
            assert group["nodes"] >= 24
            assert len(servers[1].person("GET", "/v1/groups/default/nodes")) == group["nodes"]


def test_without_its_store_it_says_so(tmp_path: Path) -> None:
    with Etcd(tmp_path) as etcd, FleetServer(tmp_path / "a", FLEET_ETCD=etcd.url) as server:
        assert server.machine("pre-reboot", "a")[0] == 200
        etcd.__exit__()
        status, answer = server.machine("pre-reboot", "b")
        assert (status, answer["kind"]) == (503, "store")


def certificate(directory: Path, name: str, *more: str) -> tuple[str, str]:
    """A key and a certificate that vouches for itself, for 127.0.0.1."""
    key, path = str(directory / f"{name}.key"), str(directory / f"{name}.crt")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", key, "-out", path,
         "-addext", "subjectAltName=IP:127.0.0.1", *more],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, path


def test_tls_and_tokens(tmp_path: Path) -> None:
    key, cert = certificate(tmp_path, "server")
    with FleetServer(tmp_path, FLEET_CERT=cert, FLEET_KEY=key, FLEET_NODE_TOKEN="m") as server:
        authority = Path(cert).read_text("ascii")
        request: dict[str, Any] = {
            "url": f"https://127.0.0.1:{server.port}/",
            "path": "/v1/pre-reboot",
            "body": {"client_params": {"id": "a", "group": "default"}},
            "ca": authority,
            "token": "m",
            "timeout_s": 60,
        }
        context = gate_worker._context(request)
        assert gate_worker.post(request, context)["status"] == 200
        answer = gate_worker.post({**request, "token": "x"}, context)
        assert (answer["status"], answer["kind"]) == (401, "unauthorized")
        with pytest.raises(ssl.SSLCertVerificationError):
            gate_worker.post(request, ssl.create_default_context())
        # Somebody who says nothing keeps nobody else waiting.
        with socket.create_connection(("127.0.0.1", server.port)):
            assert gate_worker.post(request, context)["status"] == 200


def test_only_clients_with_a_certificate(tmp_path: Path) -> None:
    key, cert = certificate(tmp_path, "server")
    client_key, client = certificate(tmp_path, "client")
    server = FleetServer(tmp_path, FLEET_CERT=cert, FLEET_KEY=key, FLEET_CLIENT_CA=client)
    with server:
        server.context = ssl.create_default_context(cafile=cert)
        with pytest.raises((OSError, http.client.HTTPException)):
            server.machine("pre-reboot", "a")
        server.context.load_cert_chain(client, client_key)
        assert server.machine("pre-reboot", "a") == (200, "")


def test_people_have_a_token_of_its_own_making(tmp_path: Path) -> None:
    server = FleetServer(tmp_path)
    del server.environment["FLEET_TOKEN"]
    with server:
        token = (tmp_path / "token").read_text().strip()
        assert len(token) == 64
        assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
        assert server.command("status").returncode == 0
        assert server.request("GET", "/v1/groups", Authorization=f"Bearer {TOKEN}")[0] == 401
