"""An installed machine whose state is encrypted: opened by its TPM, a person, a key file."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from orlop.vm.machine import Machine
from orlop.vm.spec import Disk, Installed
from tests.vm import guest
from tests.vm.chip import tpm
from tests.vm.lab import Lab

INSTALL_TIMEOUT_S = 900.0
PROMPT_TIMEOUT_S = 300.0
RETYPE_S = 10.0
PASSPHRASE, KEY = "correct horse", "a key of thirty-two bytes or so.."


def extras(lab: Lab) -> Disk:
    return Disk(lab.out / "orlop-extras.erofs", serial="extras", read_only=True)


def check_state(machine: Machine) -> None:
    found = guest.status(machine)["storage"]
    assert isinstance(found, dict)
    kept = (found["kind"], found["device"], found["filesystem"])
    assert kept == ("disk", "/dev/mapper/orlop-state", "ext4")


def answer(machine: Machine, passphrase: str) -> None:
    guest.answer_passphrase(
        machine, passphrase, prompt_timeout_s=PROMPT_TIMEOUT_S, retype_s=RETYPE_S
    )


def install_with_tpm(lab: Lab, disk: Disk, folder: Path) -> str:
    """The recovery key, which is nowhere else; the TPM is kept in *folder*."""
    with (
        tpm(folder) as chip,
        lab.machine(lab.cd(), "live", disks=(disk, extras(lab)), extra=chip) as machine,
    ):
        machine.boot()
        guest.wait_for_services(machine)
        words = "orlop install --disk virtio-system --encrypt tpm --yes --json --poweroff"
        said = machine.succeed(words, timeout_s=INSTALL_TIMEOUT_S).splitlines()
        first, last = json.loads(said[0]), json.loads(said[-1])
        assert last["result"]["encrypted"] == "tpm", last
        recovery = str(first["recovery_key"])
        machine.wait_for_power_off()
        assert recovery not in "".join([*said[1:], machine.console()])
    return recovery


def test_the_tpm_opens_what_was_installed(lab: Lab) -> None:
    disk = lab.disk("system", 600)
    install_with_tpm(lab, disk, lab.scratch / "own-tpm")
    with (
        tpm(lab.scratch / "own-tpm") as chip,
        lab.machine(Installed(disk), "installed", extra=chip) as machine,
    ):
        machine.boot()
        guest.wait_for_services(machine)
        check_state(machine)
        assert guest.warnings(machine) == []


@pytest.mark.long
def test_the_recovery_key_opens_it_without_the_tpm(lab: Lab) -> None:
    disk = lab.disk("system", 600)
    recovery = install_with_tpm(lab, disk, lab.scratch / "lost-tpm")
    with lab.machine(Installed(disk), "without") as machine:
        machine.start()
        answer(machine, recovery)
        guest.wait_for_services(machine)
        check_state(machine)
        assert "this machine has no TPM" in "".join(guest.warnings(machine))


@pytest.mark.long
def test_without_a_person_with_a_key_file_then_kept(lab: Lab) -> None:
    """The boot partition is made anew later, and the state opened for that with the passphrase."""
    disk, keys = lab.disk("system", 600), lab.disk("keys", 16, label="KEYS")
    key = lab.scratch / "installed.key"
    key.write_text(KEY)
    subprocess.run(["debugfs", "-w", "-R", f"write {key} state.key", keys.path], check=True)
    config: dict[str, object] = {
        "orlop": {
            "install": {
                "disk": ["SERIAL=system"],
                "encrypt": "keyfile",
                "key_file": "LABEL=KEYS:/state.key",
                "passphrase": PASSPHRASE,
                "config": {"hostname": "installed"},
                "then": "poweroff",
            }
        },
    }
    disks = (disk, keys, extras(lab))
    with lab.machine(lab.cd(), "live", config=config, disks=disks) as machine:
        machine.boot()
        machine.wait_for_power_off(timeout_s=INSTALL_TIMEOUT_S)
    with lab.machine(Installed(disk), "installed", disks=(keys,)) as machine:
        machine.boot()
        guest.wait_for_services(machine)
        check_state(machine)
        assert guest.status(machine)["hostname"] == "installed"
        assert guest.warnings(machine) == []
        guest.end(machine, "orlop", "poweroff")
        machine.wait_for_power_off()
    with lab.machine(lab.cd(), "again", disks=(disk, extras(lab))) as machine:
        machine.start()
        answer(machine, "wrong\rwrong\rwrong")
        guest.wait_for_services(machine)
        words = "orlop install -d virtio-system --keep-state --yes --passphrase-file -"
        refused = machine.fail(f"echo no | {words} 2>&1", timeout_s=INSTALL_TIMEOUT_S)
        assert "the key given does not open the state" in refused
        done = f"echo '{PASSPHRASE}' | {words} --poweroff"
        machine.succeed(done, timeout_s=INSTALL_TIMEOUT_S)
        machine.wait_for_power_off()
    with lab.machine(Installed(disk), "asked", memory_mib=256) as machine:
        machine.start()
        answer(machine, PASSPHRASE)
        guest.wait_for_services(machine)
        check_state(machine)
        assert guest.status(machine)["hostname"] == "installed"
