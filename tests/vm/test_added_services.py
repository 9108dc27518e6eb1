"""A person's own services on the machine: fetched once, there after a boot without a network."""

import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orlop.vm.machine import Machine
from tests.engine.registry.registry_host import Registry
from tests.engine.store.archives import busybox_layer
from tests.vm import guest
from tests.vm.lab import Lab

HOST = "10.0.2.2"
"""This host's loopback, as guests reach it."""

SYSTEM = "docker -H unix:///run/orlop/system.sock"
LOOP = "trap 'exit 0' TERM; while :; do sleep 1; done"
DEFINITION = """\
services:
  web:
    image: {image}
    command: [sh, -c, "{loop}"]
    network_mode: host
    restart: always
    volumes: ["data:/data"]
  job:
    image: {image}
    command: [sh, -c, "echo ran >> /data/runs"]
    network_mode: host
    depends_on: [web]
    volumes: ["data:/data"]
    x-orlop: {{schedule: "@every 2s"}}
"""
CYCLE = """\
services:
  left:
    image: console
    depends_on: [right]
  right:
    image: console
    depends_on: [left]
"""


class Files(http.server.SimpleHTTPRequestHandler):
    """Says nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it is called there
        pass


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    found = Registry(tmp_path / "registry")
    found.start()
    config = {"config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]}}
    found.put_image("web", "1", [busybox_layer()], config=config)
    yield found
    found.stop()


@pytest.fixture
def files(tmp_path: Path) -> Iterator[http.server.ThreadingHTTPServer]:
    """A web server for files in *tmp_path*."""
    handler = functools.partial(Files, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def runs(machine: Machine) -> int:
    """How often the job has run, as far as `web` shows."""
    return machine.run(f"{SYSTEM} exec web cat /data/runs").stdout.count(b"ran")


def test_added_from_a_url_and_there_without_a_network(
    lab: Lab, registry: Registry, files: http.server.ThreadingHTTPServer, tmp_path: Path
) -> None:
    port = registry.host.rpartition(":")[2]
    text = DEFINITION.format(image=f"{HOST}:{port}/web:1", loop=LOOP)
    (tmp_path / "web.yml").write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    config: dict[str, object] = {
        "orlop": {"engine": {"insecure_registries": [f"{HOST}/32"]}},
    }
    disk = lab.state_disk(512)
    with lab.machine(lab.kernel(), "added", config=config, disks=(disk,)) as machine:
        machine.boot()
        guest.wait_for_services(machine)
        machine.succeed(f"cat > /tmp/cycle.yml <<'END'\n{CYCLE}END\n")
        said = machine.fail("orlop service add /tmp/cycle.yml 2>&1")
        assert "/tmp/cycle.yml:4: service left: depends_on: they wait for each other" in said
        url = f"http://{HOST}:{files.server_port}/web.yml"
        assert "must have a digest" in machine.fail(f"orlop service enable {url} 2>&1")
        machine.succeed(f"orlop service enable {url}@sha256:{digest}", timeout_s=300)
        wait_for_the_job(machine)
        names = f"{SYSTEM} exec web cat /etc/resolv.conf | grep -q 10.0.2.3"
        machine.wait_until_succeeds(names, timeout_s=60)
        # It is none of the user's.
        machine.succeed("docker system prune --all --force --volumes")
        assert "web" not in machine.succeed("docker ps --all") + machine.succeed("docker images")
        machine.stop()
        registry.stop()
        files.shutdown()
        machine.boot()
        wait_for_the_job(machine)
        machine.wait_until_succeeds(names, timeout_s=120)
        shown = json.loads(machine.succeed("orlop service why web --json"))
        assert shown["enabled"] is True
        assert shown["source"] == "/var/lib/orlop/services/web.yml"
        machine.succeed("orlop service rm web job")
        assert "web" not in guest.services(machine)


def wait_for_the_job(machine: Machine) -> None:
    """`web` runs, and the job beside it, several times."""
    machine.wait_until(
        lambda: guest.services(machine).get("web") == "running", "web runs", timeout_s=180
    )
    before = runs(machine)
    machine.wait_until(lambda: runs(machine) >= before + 2, "the job has run", timeout_s=180)
