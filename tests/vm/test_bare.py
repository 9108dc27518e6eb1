"""A machine with nothing: no network, a blank disk, no key, no random numbers, a typing mistake."""

from collections.abc import Iterator

import pytest

from orlop.vm.machine import Machine
from orlop.vm.spec import Disk
from tests.vm import guest
from tests.vm.lab import Lab
from tests.vm.test_boot import listening_ports

MISTAKE = "orlop.colour=blue"


@pytest.fixture(scope="module")
def blank(lab: Lab) -> Disk:
    return lab.disk("blank", 64)


@pytest.fixture(scope="module")
def bare(lab: Lab, blank: Disk) -> Iterator[Machine]:
    kernel = lab.kernel(MISTAKE)
    with lab.machine(kernel, "bare", nics=(), disks=(blank,), random_numbers=False) as machine:
        machine.boot()
        yield machine


def test_everything_but_ssh_runs(bare: Machine) -> None:
    guest.wait_for_services(bare)
    assert guest.services(bare)["ssh"] == "skipped"


def test_random_numbers_are_waited_for(bare: Machine) -> None:
    """Without them Python, and so PID 1, does not even start."""
    bare.fail("grep -qw rdrand /proc/cpuinfo")


def test_nothing_listens(bare: Machine) -> None:
    assert listening_ports(bare) == set()


def test_unknown_parameter_is_reported(bare: Machine) -> None:
    assert any("orlop.colour" in warning for warning in guest.warnings(bare))
    assert any(
        event.event == "warning" and "orlop.colour" in str(event.fields.get("text"))
        for event in bare.boot_events
    )
    assert "orlop.colour" in bare.console()


def test_blank_disk_stays_blank(bare: Machine, blank: Disk) -> None:
    storage = guest.status(bare)["storage"]
    assert isinstance(storage, dict)
    assert storage["kind"] == "memory"
    bare.succeed("test -b /dev/vda")
    with blank.path.open("rb") as image:
        assert not any(image.read())


def test_no_disk_means_nothing_is_written(bare: Machine) -> None:
    bare.succeed("echo x > /root/file && test -s /root/file")


def test_root_is_read_only(bare: Machine) -> None:
    bare.fail("touch /usr/bin/new")
