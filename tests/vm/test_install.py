"""The system on a disk: put there by hand, and started from there. Without: `test_network_boot`."""

from __future__ import annotations

import json
import shutil
import subprocess

from orlop.vm.directory import KEY
from orlop.vm.machine import Machine
from orlop.vm.spec import Firmware, Installed
from tests.vm import guest
from tests.vm.lab import SSH_PUBLISHED, Lab, host_ssh


def check_started_from_disk(machine: Machine, firmware: Firmware) -> None:
    found = guest.status(machine)
    assert (found["firmware"], found["hostname"]) == (firmware.value, "installed")
    storage = found["storage"]
    assert isinstance(storage, dict)
    assert (storage["kind"], storage["label"]) == ("disk", "ORLOP_STATE")
    assert guest.warnings(machine) == []


def test_by_hand_and_started_by_bios_and_uefi(lab: Lab) -> None:
    disk, used = lab.disk("system", 1024), lab.disk("used", 600, label="PRECIOUS")
    with lab.machine(lab.cd(), "install", key=True, disks=(disk, used)) as machine:
        machine.boot()
        guest.wait_for_services(machine)
        refused = machine.fail("orlop install --disk virtio-used --yes 2>&1")
        assert "/dev/vdb (virtio-used) is not empty" in refused
        assert "ext4 'PRECIOUS'" in refused
        public = (machine.directory / f"{KEY}.pub").read_text().strip()
        document = json.dumps({"hostname": "installed", "ssh_authorized_keys": [public]})
        machine.succeed(f"cat > /tmp/ship.yml <<'END'\n{document}\nEND\n")
        wrong = machine.fail("echo 'hostnam: x' | orlop install --disk vda --yes --config - 2>&1")
        assert "stdin:1" in wrong
        install = "orlop install --disk virtio-system --config /tmp/ship.yml --yes --json"
        said = machine.succeed(f"{install} --poweroff", timeout_s=300).splitlines()
        assert "result" in json.loads(said[-1]), said[-1]
        machine.wait_for_power_off()
        with lab.machine(Installed(disk), "bios", nics=(SSH_PUBLISHED,)) as installed:
            for name in (KEY, f"{KEY}.pub"):
                shutil.copy(machine.directory / name, installed.directory)
            installed.boot()
            guest.wait_for_services(installed)
            check_started_from_disk(installed, Firmware.BIOS)
            subprocess.run(host_ssh(installed, ["true"]), check=True, timeout=120)
            installed.succeed("echo kept > /root/kept; sync")
            guest.end(installed, "orlop", "poweroff")
            installed.wait_for_power_off()
    with lab.machine(Installed(disk), "uefi", firmware=Firmware.UEFI) as machine:
        machine.boot()
        guest.wait_for_services(machine)
        check_started_from_disk(machine, Firmware.UEFI)
        assert machine.succeed("cat /root/kept") == "kept\n"
