"""`orlop engine`: dockerd in place of the system's own engine, and back; each keeps what it has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.engine.consoles_machine import consoles_machine, docker, orlop
from tests.engine.store.archives import busybox_layer, config_of, docker_archive

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.engine.native_machine import NativeMachine

pytestmark = [pytest.mark.root, pytest.mark.engine]

LAYERS = [busybox_layer()]
DOCKERD = docker_archive(LAYERS, ["dockerd:26"], config_of(LAYERS, Cmd=["/usr/sbin/dockerd"]))
SETTINGS = {"iptables": False, "ip6tables": False, "bridge": "none", "storage-driver": "vfs"}


@pytest.fixture
def machine() -> Iterator[NativeMachine]:
    with consoles_machine() as running:
        running.keep("/var/lib/orlop/docker")
        running.path("/var/lib/orlop/docker.json").write_text(json.dumps(SETTINGS))
        orlop(running, "toolbox", "--", "/bin/true")  # which brings an image
        yield running


def switch(
    machine: NativeMachine, archive: bytes, *words: str
) -> subprocess.CompletedProcess[bytes]:
    machine.path("/var/lib/orlop/root/engine.tar").write_bytes(archive)
    return orlop(machine, "engine", "switch", "--file", "/root/engine.tar", *words)


def server(machine: NativeMachine) -> bytes:
    done = docker(machine, "version", "--format", "{{.Server.Version}}")
    assert done.returncode == 0, (done, machine.log(), orlop(machine, "logs", "engine").stdout)
    return done.stdout


def is_running(machine: NativeMachine, name: str) -> bool:
    return docker(machine, "inspect", "--format={{.State.Running}}", name).stdout == b"true\n"


def run(machine: NativeMachine, name: str, image: str, *words: str) -> None:
    options = ("--restart=always", "--network=none", f"--name={name}", f"--volume={name}:/data")
    done = docker(machine, "run", "--detach", *options, image, *words)
    assert done.returncode == 0, done


def test_to_dockerd_and_back(machine: NativeMachine) -> None:
    own = server(machine)
    run(machine, "ours", "orlop/console:native", "sleep", "1000")

    done = switch(machine, DOCKERD)
    assert done.returncode == 0, (done, orlop(machine, "logs", "engine"))
    assert b"the engine dockerd:26 from now on" in done.stdout
    assert server(machine) != own
    assert docker(machine, "ps", "--all", "--quiet").stdout == b""
    machine.path("/var/lib/orlop/root/image.tar").write_bytes(docker_archive(LAYERS, ["busybox:1"]))
    assert docker(machine, "load", "--input", "/root/image.tar").returncode == 0
    run(machine, "theirs", "busybox:1", "sh", "-c", "echo kept >>/data/file; sleep 1000")
    cgroup = docker(machine, "inspect", "--format={{.HostConfig.CgroupParent}}", "theirs")
    assert cgroup.returncode == 0
    assert b"dockerd:26   current" in orlop(machine, "engine", "ls").stdout
    assert b"dockerd" not in orlop(machine, "console", "ls").stdout

    assert orlop(machine, "engine", "switch", "orlop").returncode == 0
    assert server(machine) == own
    machine.wait_for(lambda _: is_running(machine, "ours"))

    assert orlop(machine, "engine", "switch", "dockerd:26").returncode == 0
    machine.wait_for(lambda _: is_running(machine, "theirs"))
    kept = docker(machine, "exec", "theirs", "cat", "/data/file")
    assert kept.stdout == b"kept\nkept\n", kept

    name = orlop(machine, "config", "get", "orlop.engine.name").stdout
    assert name == b"dockerd:26\n"
