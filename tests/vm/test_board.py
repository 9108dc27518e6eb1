"""The status board on the screen of a machine, and what is asked of one in trouble."""

import base64
import io
import json
import tarfile
import time
from collections.abc import Iterator

import pytest

from orlop.vm.machine import Machine
from tests.vm.lab import Lab

LIMIT_S = 120.0
CANARY = "canary-5b1d9e"
CONFIG: dict[str, object] = {
    "hostname": "watched",
    "orlop": {
        "engine": {
            "https_proxy": f"http://user:{CANARY}@127.0.0.1:9",
            "registries": {"registry.example": {"username": "reader", "password": CANARY}},
        }
    },
    "runcmd": [f"echo 'https://hook.example/?token={CANARY}'"],
}


@pytest.fixture(scope="module")
def watched(lab: Lab) -> Iterator[Machine]:
    with lab.machine(lab.kernel(), "watched", config=CONFIG) as machine:
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


def test_it_can_be_switched_off(watched: Machine) -> None:
    watched.succeed("orlop config set orlop.console_board false")
    wait_for_screen(watched, "Press Enter for a shell")
