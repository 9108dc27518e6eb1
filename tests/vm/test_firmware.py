"""The ISO boots by every firmware, from every medium, and in little memory."""

import pytest

from orlop.vm.spec import Firmware
from tests.vm import guest
from tests.vm.lab import Lab


@pytest.mark.parametrize(
    ("firmware", "stick", "memory_mib"),
    [
        # BIOS from CD is what every other test of the ISO boots.
        pytest.param(Firmware.BIOS, True, 256, id="bios-usb-256"),
        pytest.param(Firmware.UEFI, False, 256, id="uefi-cd-256"),
        pytest.param(Firmware.UEFI, True, 512, id="uefi-usb-512"),
    ],
)
def test_boots(lab: Lab, firmware: Firmware, stick: bool, memory_mib: int) -> None:
    medium = lab.usb_stick() if stick else lab.cd()
    with lab.machine(medium, firmware.value, firmware=firmware, memory_mib=memory_mib) as machine:
        machine.boot()
        assert guest.status(machine)["firmware"] == firmware.value
        guest.wait_for_services(machine)
        assert guest.warnings(machine) == []
        kib = int(machine.succeed("sed -n 's/^MemTotal:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/meminfo"))
        assert kib < memory_mib << 10
        print(machine.succeed("cat /proc/meminfo | head -3"))
        machine.press_power_button()
        machine.wait_for_power_off()
