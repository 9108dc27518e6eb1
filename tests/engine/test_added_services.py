"""Services that a person adds, with PID 1 as a whole in namespaces: files, URLs, registries."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.native_machine import NativeMachine
from tests.engine.oci_layout import oci_archive
from tests.engine.registry.registry_host import OCI_MANIFEST, Registry
from tests.engine.store.archives import busybox_layer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.root, pytest.mark.engine]

LOOP = "trap 'exit 0' TERM; while :; do sleep 1; done"
STAY = {"command": ["/bin/sh", "-c", LOOP], "restart": "always"}


@pytest.fixture
def machine() -> Iterator[NativeMachine]:
    with NativeMachine({"base": STAY}) as running:
        running.wait_ready()
        yield running


def add(machine: NativeMachine, text: str, **more: Any) -> tuple[int, Any]:
    return machine.request("POST", "/orlop/services/add", {"name": "web.yml", "text": text, **more})


def service(status: dict[str, Any], name: str) -> dict[str, Any]:
    return next((found for found in status["services"] if found["name"] == name), {})


def state_of(name: str, state: str) -> Callable[[dict[str, Any]], bool]:
    return lambda status: service(status, name).get("state") == state


WEB = f"""\
services:
  web:
    image: base
    command: ["/bin/sh", "-c", "{LOOP}"]
    restart: always
    depends_on: [base]
    network_mode: host
    ports: ["8080:8080"]
"""


def test_added_enabled_kept_and_removed(machine: NativeMachine) -> None:
    code, answer = add(machine, WEB)
    assert code == 200, answer
    assert answer["services"] == ["web"]
    assert service(machine.wait_ready(), "web")["state"] == "disabled"
    assert machine.request("POST", "/orlop/services/enable", {"names": ["web"]})[0] == 200
    first = service(machine.wait_for(state_of("web", "running")), "web")
    # Added again as it is, nothing happens; with a change it is started anew.
    assert add(machine, WEB, enable=True)[0] == 200
    assert service(machine.wait_ready(), "web")["pid"] == first["pid"]
    assert add(machine, WEB.replace("8080", "8081"), enable=True)[0] == 200
    machine.wait_for(
        lambda found: (
            service(found, "web")["pid"] not in (0, first["pid"])
            and state_of("web", "running")(found)
        )
    )
    kept = machine.path("/var/lib/orlop/services/web.yml").read_text()
    assert kept == WEB.replace("8080", "8081") + "# from web.yml\n"
    reexecute(machine)
    machine.wait_for(state_of("web", "running"))
    assert machine.request("POST", "/orlop/services/disable", {"names": ["web"]})[0] == 200
    machine.wait_for(state_of("web", "disabled"))
    assert machine.request("POST", "/orlop/services/remove", {"names": ["web"]})[0] == 200
    assert service(machine.wait_ready(), "web") == {}
    assert machine.request("GET", "/containers/web/json")[0] == 404
    assert not machine.path("/var/lib/orlop/services/web.yml").exists()
    assert machine.request("POST", "/orlop/services/remove", {"names": ["base"]})[0] == 409


def test_nothing_of_it_is_there_when_it_cannot_be_added(machine: NativeMachine) -> None:
    """Neither a file of somebody else's is written over, nor is there one that would count."""
    own = machine.path("/var/lib/orlop/services/web.yml")
    own.write_text(WEB.replace(" web:", " other:"))
    code, answer = add(machine, WEB)
    assert code == 409
    assert answer["message"].startswith("/var/lib/orlop/services/web.yml is there already")
    assert own.read_text() == WEB.replace(" web:", " other:")
    own.unlink()
    trial = {"verb": "set", "key": "hostname", "text": "trial", "confirm": "600s"}
    assert machine.request("POST", "/orlop/config/change", trial)[0] == 200
    code, answer = add(machine, WEB)
    assert code == 409, answer
    assert "waits to be confirmed" in answer["message"]
    assert not own.exists()
    assert machine.request("POST", "/orlop/config/confirm")[0] == 200
    assert add(machine, WEB)[0] == 200
    assert service(machine.wait_ready(), "web")["state"] == "disabled"


def reexecute(machine: NativeMachine) -> None:
    before = machine.wait_ready()["reexecutions"]
    assert machine.request("POST", "/orlop/reexec")[0] == 204
    machine.wait_for(
        lambda found: found["reexecutions"] == before + 1 and found["phase"] == "ready"
    )


@pytest.mark.parametrize(
    ("services", "problem"),
    [
        (
            "aa: {image: base, depends_on: [bb]}\nbb:\n  image: base\n  depends_on: [aa]",
            "2: service aa: depends_on: they wait for each other: aa -> bb -> aa",
        ),
        (
            "aa:\n  image: base\n  depends_on: [ghost]",
            "4: service aa: depends_on: there is no service ghost",
        ),
        (
            "a:\n  image: base\n  comand: x",
            "4: service a: comand: unknown key (did you mean command?)",
        ),
        (
            "aa: &a {image: base, network_mode: host, ports: ['80:80']}\nbb: *a",
            "2: service bb: ports: 80/tcp is that of service aa",
        ),
        ("base:\n  image: base", "2: service base: the system has a service of that name"),
        ("aa:\n  image: 127.0.0.1:1/nothing:1", "3: service aa: image: "),
        ("[", "3:1: "),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    shared: NativeMachine, services: str, problem: str
) -> None:
    code, answer = add(shared, f"services:\n{textwrap.indent(services, '  ')}\n", enable=True)
    assert code >= 400
    assert answer["message"].startswith(f"web.yml:{problem}"), answer
    assert [found["name"] for found in shared.wait_ready()["services"]] == ["base"]


@pytest.fixture(scope="module")
def shared() -> Iterator[NativeMachine]:
    with NativeMachine({"base": STAY}) as running:
        running.wait_ready()
        yield running


def test_a_job_runs_at_its_times(machine: NativeMachine) -> None:
    text = """\
services:
  job:
    image: base
    command: ["/bin/sh", "-c", "echo ran; exit 3"]
    x-orlop: {schedule: "@every 1s"}
  long:
    image: base
    command: ["/bin/sleep", "1000"]
    x-orlop: {schedule: "@every 1s"}
  yearly:
    image: base
    command: ["/bin/true"]
    labels:
      cron.schedule: "@yearly"
"""
    _, answer = add(machine, text.replace("@every 1s", "TZ=Mars/Olympus @daily", 1))
    assert answer["message"].startswith("web.yml:5: service job: its schedule cannot be followed: ")
    code, answer = add(machine, text, enable=True)
    assert code == 200, answer
    found = machine.wait_for(state_of("job", "failed"))
    assert "ended with status 3" in service(found, "job")["reason"]
    machine.wait_for(state_of("long", "running"))
    yearly = service(machine.wait_ready(), "yearly")
    assert yearly["state"] == "waiting"
    assert "; next run " in f"; {yearly['reason']}"
    assert yearly["next_run_at"] > time.time()
    wait_for_log(machine, "service long still runs: its run of ")
    # Followed on after PID 1 was executed anew, and when it was asked for in between.
    reexecute(machine)
    started = service(machine.wait_for(state_of("job", "failed")), "job")["started_at"]
    machine.wait_for(lambda now: (service(now, "job")["started_at"] or 0) > started)
    assert machine.request("POST", "/orlop/services/yearly/start")[0] == 204
    again = machine.wait_for(state_of("yearly", "done"))
    assert service(again, "yearly")["next_run_at"] == yearly["next_run_at"]
    assert machine.request("POST", "/orlop/services/job/stop")[0] in (204, 304)
    assert service(machine.wait_ready(), "job")["state"] == "stopped"


def wait_for_log(machine: NativeMachine, text: str) -> None:
    deadline_s = time.monotonic() + 60
    while text not in machine.log():
        assert time.monotonic() < deadline_s, machine.log()
        time.sleep(0.1)


def test_order_by_labels(machine: NativeMachine) -> None:
    text = f"""\
first:
  image: base
  net: host
  command: ["/bin/sh", "-c", "sleep 1; exit 4"]
  labels:
    io.rancher.os.scope: system
    io.rancher.os.detach: "false"
    io.rancher.os.before: second
second:
  image: base
  net: host
  command: ["/bin/sh", "-c", "{LOOP}"]
  labels: {{io.rancher.os.scope: system}}
theirs:
  image: base
  net: host
  command: ["/bin/sh", "-c", "echo no scope; {LOOP}"]
never:
  image: base
  net: host
  labels: {{io.rancher.os.scope: system, io.rancher.os.createonly: "true"}}
"""
    assert add(machine, text, enable=True)[0] == 200
    found = machine.wait_for(state_of("second", "running"))
    assert service(found, "first")["state"] == "failed"
    assert service(found, "never")["state"] == "skipped"
    machine.wait_for(state_of("theirs", "running"))
    assert b"no scope" in machine.request("GET", "/containers/theirs/logs?stdout=1")[1]


def test_described_by_the_configuration(machine: NativeMachine) -> None:
    conf = machine.path("/var/lib/orlop/conf.d/10.yml")
    conf.write_text(
        f"""\
orlop:
  services:
    own:
      definition: {{image: base, command: [/bin/sh, -c, "{LOOP}"]}}
    ghost: {{enabled: true}}
rancher:
  services:
    old:
      image: base
      net: host
      command: [/bin/sh, -c, "{LOOP}"]
    base: {{image: base}}
  services_include: {{own: true}}
"""
    )
    code, answer = machine.request("POST", "/orlop/config/reload")
    assert (code, answer["problems"]) == (200, [])
    machine.wait_for(state_of("own", "running"))
    found = machine.wait_for(state_of("old", "running"))
    assert service(found, "old")["source"].endswith("10.yml:9")
    assert any("10.yml:12: service base exists in the system" in w for w in found["warnings"])
    code, answer = machine.request("POST", "/orlop/services/remove", {"names": ["own"]})
    assert code == 409
    assert "is in the configuration, " in answer["message"]
    reexecute(machine)
    assert service(machine.wait_for(state_of("old", "running")), "old")["restarts"] == 0
    conf.unlink()
    assert machine.request("POST", "/orlop/config/reload")[0] == 200
    names = [found["name"] for found in machine.wait_ready()["services"]]
    assert names == ["base"]
    assert machine.request("GET", "/containers/old/json")[0] == 404


def inside[T](machine: NativeMachine, act: Callable[[], T]) -> T:
    """Do something on the machine's network."""
    found: list[T] = []

    def work() -> None:
        with open(f"/proc/{machine.pid}/ns/net", "rb") as namespace:
            os.setns(namespace.fileno(), os.CLONE_NEWNET)
        found.append(act())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found, "it failed"
    return found[0]


@dataclass
class Servers:
    """A registry, and a web server with *files*, on the machine's own loopback."""

    registry: Registry
    files: Path
    url: str


@pytest.fixture
def servers(machine: NativeMachine, tmp_path: Path) -> Iterator[Servers]:
    machine.keep("/var/lib/orlop/images")
    files, port = tmp_path / "files", 8000
    files.mkdir()
    registry = Registry(tmp_path / "registry", port=5000)
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]

    def start() -> subprocess.Popen[bytes]:
        registry.start()
        return subprocess.Popen(command, cwd=files, stderr=subprocess.DEVNULL)

    server = inside(machine, start)
    yield Servers(registry, files, f"http://127.0.0.1:{port}")
    server.kill()
    server.wait()
    registry.stop()


def image_of(machine: NativeMachine, name: str) -> str:
    return str(machine.request("GET", f"/orlop/services/{name}")[1]["image_id"])


def test_from_a_url_with_an_image_of_a_registry(machine: NativeMachine, servers: Servers) -> None:
    layers = [busybox_layer()]
    wants = {"config": {"Env": ["PATH=/bin"], "Volumes": {"/var/own": {}}}}
    inside(machine, lambda: servers.registry.put_image("shop/web", "1", layers, config=wants))
    image = f"{servers.registry.host}/shop/web:1"
    text = f"""\
services:
  web:
    image: {image}
    command: ["sh", "-c", "{LOOP}"]
    restart: always
    network_mode: host
    volumes: ["data:/data"]
"""
    (servers.files / "web.yml").write_text(text)
    url, digest = f"{servers.url}/web.yml", hashlib.sha256(text.encode()).hexdigest()
    wrong = machine.request(
        "POST", "/orlop/services/add", {"url": url, "digest": f"sha256:{'0' * 64}"}
    )
    assert wrong[0] == 400
    assert "it has the digest" in wrong[1]["message"]
    body = {"url": f"{url}@sha256:{digest}", "enable": True}
    code, answer = machine.request("POST", "/orlop/services/add", body)
    assert code == 200, answer
    assert answer["origin"] == f"{url}@sha256:{digest}"
    running = service(machine.wait_for(state_of("web", "running")), "web")
    assert machine.path(f"/proc/{running['pid']}/root/data").is_dir()
    assert "localhost" in machine.path(f"/proc/{running['pid']}/root/etc/hosts").read_text()
    root = machine.path(f"/proc/{running['pid']}/root")
    (root / "var/own/note").write_text("kept")
    machine.path("/run/orlop/etc/resolv.conf").write_text("nameserver 192.0.2.53\n")
    deadline_s = time.monotonic() + 60
    while (root / "etc/resolv.conf").read_text() != "nameserver 192.0.2.53\n":
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    # The same image by another name stays when one of the names goes.
    inside(machine, lambda: servers.registry.put_image("shop/web", "2", layers, config=wants))
    twin = text.replace("web:", "twin:", 1).replace("/web:1", "/web:2")
    assert machine.request("POST", "/orlop/services/add", {"name": "t.yml", "text": twin})[0] == 200
    held = image_of(machine, "web")
    assert image_of(machine, "twin") == held
    assert machine.request("POST", "/orlop/services/remove", {"names": ["twin"]})[0] == 200
    assert image_of(machine, "web") == held
    # Everything it needs is here now.
    servers.registry.stop()
    reexecute(machine)
    assert machine.request("POST", "/orlop/services/web/restart")[0] == 204
    again = service(machine.wait_for(state_of("web", "running")), "web")
    assert machine.path(f"/proc/{again['pid']}/root/var/own/note").read_text() == "kept"
    assert machine.request("POST", "/orlop/services/remove", {"names": ["web"]})[0] == 200
    images = machine.request("GET", "/images/json")[1]
    assert [found["RepoTags"] for found in images] == [["base:latest"]]


def test_a_newer_image(machine: NativeMachine, servers: Servers) -> None:
    layers = [busybox_layer()]
    inside(machine, lambda: servers.registry.put_image("web", "latest", layers))
    # An image by itself is a service.
    command = {"config": {"Cmd": ["sh", "-c", LOOP], "Env": ["PATH=/bin"]}}
    inside(machine, lambda: servers.registry.put_image("web", "latest", layers, config=command))
    body = {"reference": f"{servers.registry.host}/web", "start": True}
    code, answer = machine.request("POST", "/orlop/services/add", body)
    assert code == 200, answer
    first = service(machine.wait_for(state_of("web", "running")), "web")
    before = image_of(machine, "web")
    assert service(machine.wait_ready(), "web")["pid"]
    pull = {"names": ["web"]}
    assert machine.request("POST", "/orlop/services/pull", pull)[1]["changed"] == []
    more = {"config": {**command["config"], "User": "1000"}}
    inside(machine, lambda: servers.registry.put_image("web", "latest", layers, config=more))
    changed = machine.request("POST", "/orlop/services/pull", pull)[1]["changed"]
    assert changed == [f"{servers.registry.host}/web"]
    assert image_of(machine, "web") != before
    again = service(machine.wait_for(state_of("web", "running")), "web")
    assert again["pid"] not in (0, first["pid"])
    assert machine.path(f"/proc/{again['pid']}").stat().st_uid == 1000


def test_an_artifact_and_a_missing_image(machine: NativeMachine, servers: Servers) -> None:
    text = b"services:\n  one: {image: base, command: [/bin/true]}\n"
    registry = servers.registry

    def put() -> None:
        empty = registry.put_blob("services/one", b"{}")
        layer = registry.put_blob("services/one", text)
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": "application/vnd.docker.compose.project",
            "config": {
                "mediaType": "application/vnd.oci.empty.v1+json",
                "size": 2,
                "digest": empty,
            },
            "layers": [
                {
                    "mediaType": "application/vnd.docker.compose.file+yaml",
                    "size": len(text),
                    "digest": layer,
                }
            ],
        }
        data = json.dumps(manifest).encode()
        registry.put_manifest("services/one", "1", data, OCI_MANIFEST)

    inside(machine, put)
    body = {"reference": f"{registry.host}/services/one:1", "enable": True}
    code, answer = machine.request("POST", "/orlop/services/add", body)
    assert code == 200, answer
    machine.wait_for(state_of("one", "done"))
    code, answer = add(machine, f"services:\n  two:\n    image: {registry.host}/nothing:1\n")
    assert code == 404, answer
    assert answer["message"].startswith("web.yml:3: service two: image: ")
    # A file that somebody puts there by hand: its image is fetched when it can be.
    path = machine.path("/var/lib/orlop/services/late.yml")
    path.write_text(
        f'services:\n  late:\n    image: {registry.host}/late:1\n    command: [sh, -c, "{LOOP}"]\n'
    )
    reexecute(machine)
    found = machine.wait_for(state_of("late", "failed"))
    assert "image 127.0.0.1:5000/late:1: " in service(found, "late")["reason"]
    inside(machine, lambda: registry.put_image("late", "1", [busybox_layer()]))
    machine.wait_for(state_of("late", "running"))


def test_from_a_catalogue(machine: NativeMachine, servers: Servers) -> None:
    image = "catalogue.internal/tool:latest"
    text = f'services:\n  tool:\n    image: {image}\n    command: [sh, -c, "{LOOP}"]\n'
    definition = text.encode()
    catalogue = servers.files / "catalogue"
    (catalogue / "services").mkdir(parents=True)
    (catalogue / "services/tool.yml").write_bytes(definition)
    archive = oci_archive([busybox_layer()])
    (catalogue / "tool.tar").write_bytes(archive.data)
    entry = {
        "description": "a tool",
        "definition": "services/tool.yml",
        "sha256": hashlib.sha256(definition).hexdigest(),
        "images": {
            image: {
                "archive": "tool.tar",
                "digest": archive.manifest,
                "size_bytes": len(archive.data),
            }
        },
    }
    (catalogue / "index.json").write_text(json.dumps({"services": {"tool": entry}}))
    place = f"{servers.url}/catalogue"
    shown = machine.request("GET", f"/orlop/catalogue?from={place}")[1]
    assert shown["services"]["tool"]["description"] == "a tool"
    body = {"catalogue": "tol", "from": place}
    code, answer = machine.request("POST", "/orlop/services/add", body)
    assert (code, answer["message"]) == (
        404,
        f"the catalogue {place} has no tol (did you mean tool?)",
    )
    code, answer = machine.request("POST", "/orlop/services/add", {**body, "catalogue": "tool"})
    assert code == 200, answer
    assert machine.request("POST", "/orlop/services/enable", {"names": ["tool"]})[0] == 200
    machine.wait_for(state_of("tool", "running"))
    assert machine.request("POST", "/orlop/services/remove", {"names": ["tool"]})[0] == 200
    # What is enabled in the configuration is fetched.
    conf = machine.path("/var/lib/orlop/conf.d/10.yml")
    enabled = {"orlop": {"catalogue": place, "services": {"tool": {"enabled": True}}}}
    conf.write_text(json.dumps(enabled))
    assert machine.request("POST", "/orlop/config/reload")[0] == 200
    machine.wait_for(state_of("tool", "running"))
    conf.unlink()
    assert machine.request("POST", "/orlop/services/remove", {"names": ["tool"]})[0] == 200
    # Another archive than the index says is not taken.
    other = oci_archive([busybox_layer()], command="false")
    (catalogue / "tool.tar").write_bytes(other.data)
    code, answer = machine.request("POST", "/orlop/services/add", {**body, "catalogue": "tool"})
    assert code == 400, answer
    assert "holds no image with the digest" in answer["message"]
