"""Storage with the programs and modules that are beside the ISO: LUKS, RAID, LVM, XFS, Btrfs.

One machine makes the disks, and comes back to a state that its key file opens, and then to one that
only its TPM opens. Another, with what is left of the first one's array, asks for a passphrase and
takes the extras from a stick.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from orlop.vm.machine import Machine
from orlop.vm.spec import Disk
from tests.vm import guest
from tests.vm.chip import tpm
from tests.vm.lab import Lab

KEY, PASSPHRASE = "a key of thirty-two bytes or so..", "correct horse"
PROMPT_TIMEOUT_S = 180.0
MAKE_TIMEOUT_S = 600.0
RETYPE_S = 5.0

CONFIG: dict[str, object] = {
    "orlop": {"modules": ["raid1", "dm_crypt", "xts", "xfs", "btrfs"]},
    "mounts": [
        ["LABEL=fast", "/mnt/fast", "xfs"],
        ["LABEL=many", "/mnt/many"],
    ],
}
LUKS_FORMAT = "cryptsetup -q luksFormat --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000"
ENVIRONMENT = """set -ex
E=/run/orlop/extras
export PATH=$PATH:$E/usr/sbin:$E/usr/bin LD_LIBRARY_PATH=$E/usr/lib/x86_64-linux-gnu
export DM_DISABLE_UDEV=1 MDADM_NO_UDEV=1
"""
MAKE = f"""{ENVIRONMENT}
printf %s '{KEY}' > /tmp/key
printf %s '{PASSPHRASE}' > /tmp/passphrase
{LUKS_FORMAT} --label ORLOP_STATE /dev/vdc /tmp/key
cryptsetup open --key-file /tmp/key /dev/vdc secret
mke2fs -q -t ext4 /dev/mapper/secret
cryptsetup close secret
mkfs.xfs -q -L fast /dev/vdd
mkfs.btrfs -q -L many /dev/vde
mdadm --create /dev/md0 --run --assume-clean --level=1 --raid-devices=2 /dev/vdf /dev/vdg
vgcreate -y group /dev/md0
lvcreate -y -Zn -Wn -n volume -l 100%FREE group
{LUKS_FORMAT} --label ASKED /dev/group/volume /tmp/passphrase
cryptsetup open --key-file /tmp/passphrase /dev/group/volume asked
vgcreate -y inner /dev/mapper/asked
lvcreate -y -Zn -Wn -n state -l 100%FREE inner
mke2fs -q -t ext4 -L ORLOP_STATE /dev/inner/state
vgchange -an inner
cryptsetup close asked
vgchange -an group
mdadm --stop /dev/md0
mdadm --create /dev/md0 --run --assume-clean --level=1 --raid-devices=2 \\
    --metadata=1.0 --bitmap=internal /dev/vdh /dev/vdi
vgcreate -y group /dev/md0
lvcreate -y -Zn -Wn -n volume -l 100%FREE group
mke2fs -q -t ext4 -L OTHER /dev/group/volume
vgchange -an group
mdadm --stop /dev/md0
"""


ARRAYS = "cat /proc/mdstat"


@dataclass(slots=True)
class Place:
    lab: Lab
    machine: Machine
    half: Disk
    foreign: Disk
    """Half an array of another machine, whose volume group has the same name."""


@pytest.fixture(scope="module")
def place(lab: Lab) -> Iterator[Place]:
    key = lab.scratch / "state.key"
    key.write_text(KEY)
    keys = lab.disk("keys", 16, label="KEYS")
    subprocess.run(["debugfs", "-w", "-R", f"write {key} state.key", keys.path], check=True)
    extras = Disk(lab.out / "orlop-extras.erofs", serial="extras", read_only=True)
    sizes = {"secret": 200, "fast": 320, "many": 200, "one": 120, "two": 120}
    sizes |= {"three": 64, "four": 64}
    blank = [lab.disk(name, size) for name, size in sizes.items()]
    line = "orlop.state.key=LABEL=KEYS:/state.key"
    disks = (extras, keys, *blank)
    with (
        tpm(lab.scratch / "extras-tpm") as chip,
        lab.machine(lab.kernel(line), "extras", config=CONFIG, disks=disks, extra=chip) as machine,
    ):
        machine.boot()
        guest.wait_for_services(machine)
        command = ["orlop", "toolbox", "--host", "--privileged", "--", "sh", "-c", MAKE]
        machine.succeed(command, timeout_s=MAKE_TIMEOUT_S)
        guest.end(machine, "orlop", "reboot")
        machine.wait_for_ready()
        guest.wait_for_services(machine)
        yield Place(lab, machine, blank[4], blank[6])


def storage(machine: Machine) -> tuple[object, object, object]:
    found = guest.status(machine)["storage"]
    assert isinstance(found, dict)
    return found["kind"], found["device"], found["filesystem"]


def test_an_encrypted_state_is_opened_with_the_key_file(place: Place) -> None:
    assert storage(place.machine) == ("disk", "/dev/mapper/orlop-state", "ext4")
    assert guest.warnings(place.machine) == []


def test_xfs_and_btrfs_are_mounted(place: Place) -> None:
    mounted = place.machine.succeed("cat /proc/1/mounts")
    assert " /var/mnt/fast xfs " in mounted
    assert " /var/mnt/many btrfs " in mounted


def test_the_kernel_takes_modules_from_the_system_alone_again(place: Place) -> None:
    assert place.machine.succeed("cat /proc/sys/kernel/loadpin/enforce").strip() == "1"


def test_the_tpm_opens_the_state_until_it_is_open(place: Place) -> None:
    """And nothing else can: there is no slot for its key file any more."""
    machine = place.machine
    machine.succeed(f"printf %s '{KEY}' | orlop disks seal", timeout_s=MAKE_TIMEOUT_S)
    kill = f"{ENVIRONMENT}cryptsetup -q luksKillSlot /dev/vdc 0"
    command = ["orlop", "toolbox", "--host", "--privileged", "--", "sh", "-c", kill]
    machine.succeed(command, timeout_s=MAKE_TIMEOUT_S)
    guest.end(machine, "orlop", "reboot")
    machine.wait_for_ready()
    guest.wait_for_services(machine)
    assert storage(machine) == ("disk", "/dev/mapper/orlop-state", "ext4")
    assert guest.warnings(machine) == []
    register = machine.succeed("cat /sys/class/tpm/tpm0/pcr-sha256/15")
    assert bytes.fromhex(register) != bytes(32)


def test_a_passphrase_opens_what_is_on_half_an_array(place: Place) -> None:
    """There is a volume group in it; and the extras are on a stick, as a file.

    Another machine's disk is not written to.
    """
    place.machine.stop()
    lab = place.lab
    stick = lab.disk("stick", 64, label="ORLOP_LOAD")
    copy = f"write {lab.out / 'orlop-extras.erofs'} orlop-extras.erofs"
    subprocess.run(["debugfs", "-w", "-R", copy, stick.path], check=True)
    foreign = place.foreign.path.read_bytes()
    disks = (stick, place.foreign, replace(place.half, serial="half"))
    with lab.machine(lab.kernel("orlop.state=LABEL=ASKED"), "asked", disks=disks) as machine:
        machine.start()
        guest.answer_passphrase(
            machine, PASSPHRASE, prompt_timeout_s=PROMPT_TIMEOUT_S, retype_s=RETYPE_S
        )
        guest.wait_for_services(machine)
        kind, device, filesystem = storage(machine)
        assert (kind, filesystem) == ("disk", "ext4")
        assert str(device).startswith("/dev/dm-")
        [array] = re.findall(
            r"^(md\d+ : \w+ (?:\([\w-]+\) )?)", machine.succeed(ARRAYS), re.MULTILINE
        )
        assert array.endswith(": active ")
    assert place.foreign.path.read_bytes() == foreign
