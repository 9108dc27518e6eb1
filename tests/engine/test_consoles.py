"""`orlop console`: another console is chosen, breaks, and is left, while workloads go on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.consoles_machine import consoles_machine, docker, orlop
from tests.engine.native_machine import NativeMachine
from tests.engine.store.archives import LayerBuilder, busybox_layer, docker_archive

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.engine]

MARKED = LayerBuilder().add("mark", b"another root\n").finish()
EMPTY = LayerBuilder().add("mark", b"no shell\n").finish()


@pytest.fixture(scope="module")
def machine() -> Iterator[NativeMachine]:
    with consoles_machine() as running:
        yield running


def enter(machine: NativeMachine, command: str) -> subprocess.CompletedProcess[bytes]:
    """As an SSH session runs a command."""
    return orlop(machine, "console", "enter", "--", "-c", command)


def state(machine: NativeMachine) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(orlop(machine, "console", "ls", "--json").stdout)
    return found


def bring(
    machine: NativeMachine, archive: bytes, *words: str
) -> subprocess.CompletedProcess[bytes]:
    machine.path("/var/lib/orlop/root/console.tar").write_bytes(archive)
    return orlop(machine, "console", "switch", "--file", "/root/console.tar", *words)


def warnings(machine: NativeMachine) -> list[str]:
    found = machine.request("GET", "/orlop/status")[1]["warnings"]
    return [text for text in found if text.startswith("console ")]


def test_switching_and_breaking_stops_no_workload(machine: NativeMachine) -> None:
    orlop(machine, "toolbox", "--", "/bin/true")  # which brings an image
    run = ("run", "-d", "--name=web", "orlop/console:native", "sleep", "1000")
    assert docker(machine, *run).returncode == 0
    pid = docker(machine, "inspect", "--format={{.State.Pid}}", "web").stdout

    file = "[{path: /etc/watch, content: four hours}]"
    assert orlop(machine, "config", "set", "write_files", file).returncode == 0
    done = bring(machine, docker_archive([busybox_layer(), MARKED], ["debian:13"]))
    assert done.returncode == 0, done
    assert done.stdout == b"sessions begin in debian:13 from now on\n"
    done = enter(machine, "cat /mark; exit 3")
    assert (done.returncode, done.stdout) == (3, b"another root\n"), done
    assert enter(machine, "cat /etc/watch").stdout == b"four hours"
    assert state(machine) | {"name": "debian:13", "enabled": "debian:13"} == state(machine)
    assert b"debian:13   current" in orlop(machine, "console", "ls").stdout

    # No shell in it: refused, and nothing has changed.
    done = bring(machine, docker_archive([EMPTY], ["empty:1"]))
    assert done.returncode == 1
    assert b"empty:1 is no console" in done.stderr
    assert state(machine)["name"] == "debian:13"

    # Its shell is lost while it is in use: sessions begin in the default one, and it is said.
    assert enter(machine, "rm -r /bin").returncode == 0
    done = enter(machine, "cat /mark || exit 6")
    assert done.returncode == 6
    assert b"this is the default one" in done.stderr
    assert "console debian:13 cannot be used" in warnings(machine)[0]

    # Made anew, it is whole again.
    assert orlop(machine, "console", "switch", "debian:13").returncode == 0
    assert warnings(machine) == []
    assert enter(machine, "cat /mark").stdout == b"another root\n"

    assert machine.request("POST", "/orlop/reexec")[0] == 204
    machine.wait_for(lambda found: found["reexecutions"] == 1 and found["phase"] == "ready")
    assert enter(machine, "cat /mark").stdout == b"another root\n"

    assert orlop(machine, "console", "rm", "debian:13").returncode == 1
    assert orlop(machine, "console", "switch", "default").returncode == 0
    assert b"/mark" in enter(machine, "cat /mark").stderr
    for name in ("debian:13", "empty:1"):
        assert orlop(machine, "console", "rm", name).returncode == 0
    assert docker(machine, "inspect", "--format={{.State.Pid}}", "web").stdout == pid


def test_enabling_counts_from_the_next_boot_on(machine: NativeMachine) -> None:
    # From the user's engine, which has it from before.
    orlop(machine, "toolbox", "--", "/bin/true")
    name = "orlop/console:native"
    assert orlop(machine, "console", "enable", name, "--no-pull").returncode == 0
    found = state(machine)
    assert (found["name"], found["enabled"], found["images"]) == ("default", name, [name])
    assert orlop(machine, "config", "get", "orlop.console.name").stdout.strip() == name.encode()
    assert orlop(machine, "console", "enable", "default").returncode == 0
    done = orlop(machine, "console", "switch", "--no-pull", "nowhere:1")
    assert done.returncode == 1
    assert b"docker pull nowhere:1" in done.stderr
