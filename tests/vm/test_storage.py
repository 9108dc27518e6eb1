"""Storage by configuration: an empty disk becomes the state, keeps what it shall, and grows."""

import os
from collections.abc import Iterator

import pytest

from orlop.vm.machine import Machine
from orlop.vm.spec import Disk
from tests.vm import guest
from tests.vm.lab import SSH_PUBLISHED, Lab

MIB = 1 << 20
CONFIG: dict[str, object] = {
    "orlop": {
        "persist": ["/opt", "/srv/data"],
        "swap": {"zram": "25%", "devices": ["LABEL=quick"]},
    }
}
NAMED = "orlop.state.autoformat=SERIAL=used,SERIAL=fresh"


@pytest.fixture(scope="module")
def fresh(lab: Lab) -> Disk:
    return lab.disk("fresh", 200)


@pytest.fixture(scope="module")
def machine(lab: Lab, fresh: Disk) -> Iterator[Machine]:
    """With three disks: one that is named and used, one that is named and empty, one for swap."""
    used = lab.disk("used", 100, label="PRECIOUS")
    swap = lab.disk("swap", 100)
    lab.make_swap(swap, "quick")
    with lab.machine(
        lab.kernel(NAMED),
        "storage",
        config=CONFIG,
        disks=(used, fresh, swap),
        key=True,
        nics=(SSH_PUBLISHED,),
    ) as machine:
        machine.boot()
        guest.wait_for_services(machine)
        yield machine


def storage(machine: Machine) -> dict[str, object]:
    value = guest.status(machine)["storage"]
    assert isinstance(value, dict)
    return value


def test_the_empty_disk_is_made_the_state_and_the_used_one_refused(machine: Machine) -> None:
    found = storage(machine)
    assert (found["kind"], found["device"], found["label"]) == ("disk", "/dev/vdb1", "ORLOP_STATE")
    complaints = guest.warnings(machine)
    assert any(
        "SERIAL=used" in text and "ext2, ext3 or ext4" in text and "left as it is" in text
        for text in complaints
    ), complaints
    assert machine.succeed("findfs LABEL=PRECIOUS") == "/dev/vda\n"


def test_swap_is_in_memory_first_and_on_the_disk_then(machine: Machine) -> None:
    lines = machine.succeed("cat /proc/swaps").splitlines()[1:]
    priorities = {line.split()[0]: int(line.split()[4]) for line in lines}
    assert priorities.keys() == {"/dev/zram0", "/dev/vdc"}
    assert priorities["/dev/zram0"] > priorities["/dev/vdc"]


def test_what_is_kept_is_kept_and_grows_with_the_disk(machine: Machine, fresh: Disk) -> None:
    machine.succeed("echo a > /opt/kept; echo b > /srv/data/kept; echo c > /root/kept; sync")
    machine.fail("touch /usr/lost")
    before = storage(machine)["size_bytes"]
    guest.end(machine, "orlop", "poweroff")
    machine.wait_for_power_off()
    os.truncate(fresh.path, 600 * MIB)
    machine.boot()
    guest.wait_for_services(machine)
    assert machine.succeed("cat /opt/kept /srv/data/kept /root/kept") == "a\nb\nc\n"
    kept = storage(machine)["kept"]
    assert kept == ["/root", "/home", "/mnt", "/var", "/opt", "/srv/data"]
    # It is not formatted again, and nothing is said of it.
    assert not [text for text in guest.warnings(machine) if "autoformat" in text]
    assert isinstance(before, int)

    def has_grown() -> bool:
        size = storage(machine)["size_bytes"]
        return isinstance(size, int) and size > before + 300 * MIB

    machine.wait_until(has_grown, "the state has grown", timeout_s=120)
