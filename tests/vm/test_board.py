"""The status board on the screen of a machine, and what is asked of one in trouble."""

import base64
import io
import json
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orlop.lib.process import CommandError, run
from orlop.vm.machine import Machine
from orlop.vm.spec import Publish, UserNet
from tests.vm.lab import Lab

LIMIT_S = 120.0
DOCKER_PORT = 2376
CANARY = "canary-5b1d9e"
CONFIG: dict[str, object] = {
    "hostname": "watched",
    "orlop": {
        "engine": {
            "tls": {"hosts": ["ship.example"]},
            "https_proxy": f"http://user:{CANARY}@127.0.0.1:9",
            "registries": {"registry.example": {"username": "reader", "password": CANARY}},
        }
    },
    "runcmd": [f"echo 'https://hook.example/?token={CANARY}'"],
}


@pytest.fixture(scope="module")
def watched(lab: Lab) -> Iterator[Machine]:
    docker = UserNet(publish=(Publish(0, DOCKER_PORT),))
    with lab.machine(lab.kernel(), "watched", config=CONFIG, nics=(docker,)) as machine:
        machine.boot()
        yield machine


def wait_for_screen(machine: Machine, wanted: str) -> str:
    return wait_until(machine, "cat /dev/vcs1", wanted)


def wait_until(machine: Machine, command: str, wanted: str) -> str:
    """What *command* prints once *wanted* is in it; of the screen, rows follow without an end."""
    deadline_s = time.monotonic() + LIMIT_S
    while wanted not in (shown := machine.succeed(command)):
        assert time.monotonic() < deadline_s, f"no {wanted!r}: {shown}"
        time.sleep(1)
    return shown


def press(machine: Machine, *keys: str) -> None:
    for key in keys:
        machine.qmp.human(f"sendkey {key}")


def test_the_board_a_key_and_back(watched: Machine) -> None:
    shown = wait_for_screen(watched, "Any key: log in here")
    for part in ("watched", "+ network", "in memory, lost at the next boot", "closed until"):
        assert part in shown
    press(watched, "spc")
    wait_for_screen(watched, "root@watched")
    press(watched, *"tty", "ret")
    wait_for_screen(watched, "/dev/tty1")
    press(watched, *"exit", "ret")
    wait_for_screen(watched, "Any key: log in here")


def test_the_machine_can_be_looked_at(watched: Machine) -> None:
    net = json.loads(watched.succeed("orlop net --json"))
    assert {link["name"] for link in net["links"]} >= {"lo", "eth0"}
    assert any(row["interface"] == "eth0" and row["lease_s"] for row in net["addresses"])
    assert json.loads(watched.succeed("orlop disks --json"))["persistence"]["kind"] == "memory"
    events = watched.succeed("orlop events --json --filter type=container").splitlines()
    assert any(json.loads(line)["attributes"].get("name") == "console" for line in events)
    assert watched.succeed("orlop dmesg --level debug --time | head -n 1").startswith("[20")
    assert "NAME\n" in watched.succeed("orlop man logs")
    assert "complete -F" in watched.succeed("orlop completion bash")
    wait_until(watched, "orlop logs --json --boot runcmd", "hook.example")


def test_a_file_for_support_has_no_secret(watched: Machine) -> None:
    assert CANARY in watched.succeed("orlop config export --private")
    wait_until(watched, "orlop logs runcmd", CANARY)
    packed = watched.succeed("orlop support -o - | base64")
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(packed))) as archive:
        files = {
            name.partition("/")[2]: stream.read().decode()
            for name in archive.getnames()
            if (stream := archive.extractfile(name)) is not None
        }
    assert {"status.json", "messages.txt", "logs/runcmd.txt", "network.json"} <= set(files)
    assert [name for name, text in files.items() if CANARY in text] == []
    assert [name for name, text in files.items() if text.startswith("not to be had")] == []


def test_docker_over_tls_for_who_has_a_certificate(watched: Machine, tmp_path: Path) -> None:
    watched.succeed("orlop config set orlop.engine.tls.enabled true", timeout_s=LIMIT_S)
    wait_until(watched, "orlop net ports", f":{DOCKER_PORT}")
    hosts = json.loads(watched.succeed("orlop tls show --json"))["hosts"]
    assert {"watched", "127.0.0.1", "ship.example"} <= set(hosts)
    packed = watched.succeed("orlop tls client me --host 127.0.0.1 | base64")
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(packed))) as archive:
        archive.extractall(tmp_path, filter="data")
    environment = {
        "DOCKER_HOST": f"tcp://127.0.0.1:{watched.host_port(DOCKER_PORT)}",
        "DOCKER_TLS_VERIFY": "1",
        "HOME": str(tmp_path),
    }
    mine = {**environment, "DOCKER_CERT_PATH": str(tmp_path / "tls/docker")}
    assert run(["docker", "version", "--format", "{{.Server.Os}}"], env=mine, timeout_s=60)
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / "ca.pem").write_bytes((tmp_path / "tls/docker/ca.pem").read_bytes())
    with pytest.raises(CommandError):
        run(
            ["docker", "--tlscacert", stranger / "ca.pem", "version"], env=environment, timeout_s=60
        )


def test_it_can_be_switched_off(watched: Machine) -> None:
    watched.succeed("orlop config set orlop.console_board false")
    wait_for_screen(watched, "Press Enter for a shell")
