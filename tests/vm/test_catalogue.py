"""Debian's dockerd from the catalogue in place of the system's own engine; not in every run.

Build it first: ./orlop catalogue build docker
"""

from pathlib import Path

import pytest

from orlop.lib.process import run
from orlop.vm.spec import Disk
from tests.engine.store.archives import busybox_layer, docker_archive
from tests.vm import guest
from tests.vm.lab import STATE_LABEL, Lab

SYSTEM = "docker --host unix:///run/orlop/system.sock"


@pytest.mark.long
def test_dockerd_with_a_bridge_and_a_swarm(lab: Lab, tmp_path: Path) -> None:
    home = tmp_path / "state.d/lib/orlop/root"
    home.mkdir(parents=True)
    (home / "docker.tar").write_bytes((lab.out / "catalogue/docker/docker.tar").read_bytes())
    (home / "busybox.tar").write_bytes(docker_archive([busybox_layer()], ["busybox:1"]))
    disk = tmp_path / "state.img"
    with disk.open("wb") as image:
        image.truncate(1 << 30)
    run(
        ["mkfs.ext4", "-q", "-F", "-L", STATE_LABEL, "-d", tmp_path / "state.d", disk],
        timeout_s=120,
    )
    disks = (Disk(disk, serial="state"),)
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
        machine.succeed("orlop engine switch orlop", timeout_s=600)
