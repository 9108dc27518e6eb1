"""Consoles and the toolbox on the machine: sessions change, workloads do not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.engine.store.archives import LayerBuilder, busybox_layer, docker_archive
from tests.vm import guest
from tests.vm.test_docker_cli import docker
from tests.vm.test_user_engine import user_api

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orlop.vm.machine import Machine
    from tests.vm.lab import Lab

IMAGE = "other:1"
MARK = LayerBuilder().link("bin/ln", "busybox").add("mark", b"another root\n").finish()
TYPED_S = 120.0


@pytest.fixture(scope="module")
def consoles_machine(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """With an image in the user's engine, and a container that is to run all the time."""
    archive: Path = tmp_path_factory.mktemp("console") / "other.tar"
    archive.write_bytes(docker_archive([busybox_layer(), MARK], tags=[IMAGE]))
    with lab.machine(lab.kernel(), "consoles", key=True, disks=(lab.state_disk(),)) as machine:
        machine.boot()
        guest.wait_for_services(machine)
        with user_api(machine) as host:
            docker(host, "load", "-i", str(archive))
            docker(host, "run", "-d", "--restart=always", "--name=web", IMAGE, "sleep", "100000")
        yield machine


def on_the_console(machine: Machine, command: str, *expected: str) -> None:
    """Type *command* on the serial console and wait until all that is *expected* is shown."""
    with machine.serial_console() as console:
        console.send(f"{command}\n".encode())
        for text in expected:
            assert console.wait_for(text.encode(), TYPED_S), console.seen.decode(errors="replace")
        console.send(b"exit\n")


def web(machine: Machine) -> int:
    """The process of the container that is to run all the time."""

    def pid() -> int:
        [found] = json.loads(docker(host, "inspect", "web"))
        return int(found["State"]["Pid"])

    with user_api(machine) as host:
        # After a boot it is started a moment later than its engine.
        machine.wait_until(lambda: pid() > 0, "the container runs", timeout_s=60)
        return pid()


def test_toolbox_sees_the_machine(consoles_machine: Machine) -> None:
    machine = consoles_machine
    see = "cat /proc/1/cmdline | tr '\\0' ' '; cat /host/usr/lib/orlop/release.json; id -u"
    seen = machine.succeed(["orlop", "toolbox", "--host", "--", "sh", "-c", see])
    assert "/usr/lib/orlop/python init" in seen
    assert '"version"' in seen
    inside = machine.succeed(
        "orlop toolbox --container web -- sh -c 'cat /proc/1/cmdline $TARGET/mark'"
    )
    assert inside == "sleep\x00100000\x00another root\n"
    assert "toolbox" not in machine.succeed("orlop ps --all; docker ps --all")


def test_console_of_an_image(consoles_machine: Machine) -> None:
    machine = consoles_machine
    before = web(machine)
    assert "from now on" in machine.succeed(f"orlop console switch {IMAGE}")
    seen = ("another root", "current", "virtio-state")  # PID 1 installs, whoever asks for it
    on_the_console(machine, "cat /mark; orlop console ls; orlop install --list", *seen)
    assert web(machine) == before

    # It is kept, and a boot needs neither the network nor the user's engine for it.
    machine.succeed("orlop system reexec")
    machine.stop()
    machine.boot()
    guest.wait_for_services(machine)
    on_the_console(machine, "cat /mark", "another root")
    after = web(machine)

    # Without a shell in it, sessions begin in the default one.
    machine.succeed("orlop exec shell rm -r /bin")
    on_the_console(machine, "cat /usr/lib/orlop/greeting", "this is the default one", "engine")
    assert any(text.startswith(f"console {IMAGE}") for text in guest.warnings(machine))
    machine.succeed("orlop console switch default")
    assert guest.warnings(machine) == []
    assert web(machine) == after
