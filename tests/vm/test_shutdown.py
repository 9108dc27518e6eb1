"""Every way to end a machine: in order, and within a bounded time."""

from collections.abc import Callable, Iterator

import pytest

from orlop.vm.machine import Machine
from tests.vm import guest
from tests.vm.lab import Lab


@pytest.fixture(scope="module")
def ending(lab: Lab) -> Iterator[Machine]:
    with lab.machine(lab.kernel(), "ending", disks=(lab.state_disk(64),)) as machine:
        yield machine


@pytest.fixture
def up(ending: Machine) -> Machine:
    """The machine, booted if the last test has switched it off."""
    if not ending.running():
        ending.close()
        ending.boot()
    guest.wait_for_services(ending)
    return ending


def check_order(machine: Machine) -> None:
    """The end was orderly: announced, and `down` its last word."""
    machine.wait_for_event("stopping")
    machine.wait_for_event("down")


REBOOTS: dict[str, Callable[[Machine], object]] = {
    "command": lambda machine: guest.end(machine, "orlop", "reboot"),
    "ctrl-alt-del": lambda machine: machine.send_keys("ctrl", "alt", "delete"),
    "SIGINT": lambda machine: guest.end(machine, "kill", "-INT", "1"),
}
POWER_OFFS: dict[str, Callable[[Machine], object]] = {
    "command": lambda machine: guest.end(machine, "shutdown", "-h", "now"),
    "power button": lambda machine: machine.press_power_button(),
    "SIGTERM": lambda machine: guest.end(machine, "kill", "-TERM", "1"),
}


@pytest.mark.parametrize("how", REBOOTS)
def test_reboot(up: Machine, how: str) -> None:
    REBOOTS[how](up)
    check_order(up)
    up.wait_for_ready()
    guest.wait_for_agent(up)


@pytest.mark.parametrize("how", POWER_OFFS)
def test_power_off(up: Machine, how: str) -> None:
    POWER_OFFS[how](up)
    check_order(up)
    up.wait_for_power_off()


def test_service_that_does_not_listen_is_killed(up: Machine) -> None:
    """A container that ignores SIGTERM costs its grace time, not more."""
    definition = (
        b'{"services": {"deaf": {"image": "console", "stop_grace_period": "2s", "init": false,'
        b' "command": ["/bin/sh", "-c", "trap : TERM; while :; do sleep 1; done"]}}}'
    )
    up.run(["sh", "-c", "cat > /var/lib/orlop/services/deaf.json && sync"], stdin=definition)
    guest.end(up, "orlop", "reboot")
    up.wait_for_ready()
    assert guest.services(up)["deaf"] == guest.RUNNING
    guest.end(up, "orlop", "poweroff")
    check_order(up)
    up.wait_for_power_off()
