"""A machine without a network gets its images from a disk and from its state partition."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from orlop.lib.process import run
from orlop.vm.machine import Machine
from orlop.vm.spec import Disk
from tests.engine.store.archives import LayerBuilder, busybox_layer, docker_archive
from tests.vm import guest
from tests.vm.lab import STATE_LABEL, Lab

SYSTEM = "docker -H unix:///run/orlop/system.sock"
NAMES = "images --format '{{.Repository}}:{{.Tag}}'"


def archive(name: str) -> bytes:
    """An image of its own."""
    note = LayerBuilder().add("note", name.encode()).finish()
    return docker_archive([busybox_layer(), note], [f"{name}:1"])


def make_disk(path: Path, label: str, files: dict[str, bytes]) -> Disk:
    """A disk with *files*, called *label*."""
    tree = path.with_suffix(".d")
    for name, data in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(data)
    with path.open("wb") as image:
        image.truncate(128 << 20)
    run(["mkfs.ext4", "-q", "-F", "-L", label, "-d", tree, path], timeout_s=60)
    return Disk(path, serial=path.stem)


@pytest.fixture(scope="module")
def machine(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    directory = tmp_path_factory.mktemp("preload")
    on_disk = {
        "shop.tar.gz": gzip.compress(archive("shop")),
        "web.tar": archive("web"),
        "web-broken.tar": archive("broken")[:-70_000],
    }
    on_state = {
        "lib/orlop/preload/local.tar": archive("local"),
        "lib/orlop/preload/system/tools.tar": archive("tools"),
    }
    disks = (
        make_disk(directory / "state.img", STATE_LABEL, on_state),
        make_disk(directory / "load.img", "ORLOP_LOAD", on_disk),
    )
    with lab.machine(lab.kernel(), "preload", disks=disks) as machine:
        machine.boot()
        guest.wait_for_services(machine)
        yield machine


def names(machine: Machine, docker: str = "docker") -> set[str]:
    """Images that the engine has; none as long as it does not answer."""
    answer = machine.run(f"{docker} {NAMES}")
    return set(answer.stdout.decode().split()) if answer.status == 0 else set()


def test_images_are_there_and_a_broken_archive_is_reported(machine: Machine) -> None:
    wanted = {"local:1", "shop:1", "web:1"}
    machine.wait_until(lambda: names(machine) == wanted, "the images are there", timeout_s=180)
    said = machine.succeed("docker run --rm --network none web:1 cat /note")
    assert said == "web"
    log = machine.succeed("orlop logs engine 2>&1")
    assert "preload: web-broken.tar is left out" in log


def test_services_have_theirs_in_the_systems_engine(machine: Machine) -> None:
    assert "tools:1" in names(machine, SYSTEM)
    assert not {"local:1", "shop:1", "web:1"} & names(machine, SYSTEM)
