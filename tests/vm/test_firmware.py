"""The ISO boots by every firmware, from every medium, and in little memory."""

from dataclasses import replace

import pytest

from orlop.lib.kernel_payload import find_payload
from orlop.vm.spec import Firmware
from tests.vm import guest
from tests.vm.lab import Lab

RESTART_S = 120.0
"""The ten seconds are a count of writes to a port, which an emulator may take longer for."""


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


def test_a_kernel_that_cannot_be_unpacked_restarts_the_machine(lab: Lab) -> None:
    """Upstream's halts, and somebody would have to go there."""
    kernel = bytearray((lab.out / "vmlinuz").read_bytes())
    payload = find_payload(lambda at, size: bytes(kernel[at : at + size]), 0)
    assert payload is not None
    kernel[payload.offset_bytes + payload.size_bytes // 2] ^= 1
    damaged = lab.scratch / "damaged"
    damaged.write_bytes(kernel)
    medium = replace(lab.kernel("earlyprintk=serial,ttyS0,115200"), kernel=damaged)
    with lab.machine(medium, "damaged", extra=("-no-reboot",)) as machine:
        machine.start()
        machine.wait_for_power_off(RESTART_S)
        assert "-- Restarting in ten seconds" in machine.console()
