"""Debian and its dockerd from the catalogue in place of the system's own console and engine; not in
every run.

Build them first: ./orlop catalogue build debian docker
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from orlop.vm.spec import Disk
from tests.engine.store.archives import LayerBuilder, busybox_layer, docker_archive
from tests.vm import guest
from tests.vm.lab import Lab, host_ssh

SYSTEM = "docker --host unix:///run/orlop/system.sock"


NO_DOCKERD = LayerBuilder().add("usr/sbin/dockerd", b"#!/bin/sh\nexit 1\n", mode=0o755).finish()
"""What should be an engine ends at once."""


def state_with(lab: Lab, tmp_path: Path, files: Mapping[str, bytes]) -> Disk:
    """A state disk with *files* in /root."""
    top = tmp_path / "state.d"
    home = top / "lib/orlop/root"
    home.mkdir(parents=True)
    for name, data in files.items():
        (home / name).write_bytes(data)
    return lab.state_disk(1024, content=top)


@pytest.mark.long
def test_debian_as_the_console(lab: Lab, tmp_path: Path) -> None:
    archive = (lab.out / "catalogue/debian/debian.tar").read_bytes()
    disks = (state_with(lab, tmp_path, {"debian.tar": archive}),)
    with lab.machine(lab.kernel(), "debian", disks=disks, key=True) as machine:
        machine.boot()
        guest.wait_for_services(machine)
        machine.succeed("orlop console switch --file /root/debian.tar", timeout_s=600)
        ask = ". /etc/os-release && echo $ID && dpkg --audit && apt-get check && docker ps"
        for _ in range(2):
            argv = host_ssh(machine, [ask])
            done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done
            assert done.stdout.startswith("debian\n")
            assert "CONTAINER ID" in done.stdout
            assert guest.warnings(machine) == []
            machine.stop()  # and it is there after a boot
            machine.boot()
            guest.wait_for_services(machine)
        machine.succeed("orlop console switch default", timeout_s=600)
        subprocess.run(host_ssh(machine, ["test ! -e /usr/bin/dpkg"]), check=True, timeout=300)


@pytest.mark.long
def test_dockerd_with_a_bridge_and_a_swarm(lab: Lab, tmp_path: Path) -> None:
    """And what is no engine does not take its place."""
    files = {
        "docker.tar": (lab.out / "catalogue/docker/docker.tar").read_bytes(),
        "busybox.tar": docker_archive([busybox_layer()], ["busybox:1"]),
        "broken.tar": docker_archive([busybox_layer(), NO_DOCKERD], ["broken:1"]),
    }
    disks = (state_with(lab, tmp_path, files),)
    with lab.machine(lab.kernel(), "dockerd", disks=disks, memory_mib=1024) as machine:
        machine.boot()
        guest.wait_for_services(machine)
        machine.succeed("orlop engine switch --file /root/docker.tar", timeout_s=600)
        assert "current" in machine.succeed("orlop engine ls").split("docker", 1)[1]
        machine.succeed("docker load --input /root/busybox.tar", timeout_s=120)
        said = machine.succeed("docker run --rm busybox:1 cat /proc/net/route", timeout_s=120)
        assert "eth0" in said
        # The command in the image, since the console's own has no part for swarms.
        inside = f"{SYSTEM} exec engine docker --host unix:///run/orlop/docker/docker.sock"
        machine.succeed(f"{inside} swarm init --advertise-addr 127.0.0.1", timeout_s=120)
        assert "Swarm: active" in machine.succeed(f"{inside} info")
        machine.fail("orlop engine switch --file /root/broken.tar", timeout_s=900)
        assert "current" in machine.succeed("orlop engine ls").split("docker", 1)[1].split("\n")[0]
        machine.wait_until_succeeds("docker image inspect busybox:1", timeout_s=120)
        machine.succeed("orlop engine switch orlop", timeout_s=600)
