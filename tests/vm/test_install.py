"""The system is put on a disk without a person."""

from __future__ import annotations

import json
import os
import subprocess

from orlop.lib import environment_block, fat_reader
from orlop.system import install_disks
from orlop.system.install_disks import Content
from orlop.vm.spec import Disk
from tests.vm.lab import Lab


def test_without_a_person_in_256_mib(lab: Lab) -> None:
    disk = lab.disk("system", 600, label="OLD")
    config: dict[str, object] = {
        "hostname": "live",
        "orlop": {
            "install": {
                "disk": ["SERIAL=none", "SERIAL=system"],
                "wipe": True,
                "config": {"hostname": "installed"},
                "append": "a.b=c",
                "then": "poweroff",
            }
        },
    }
    with lab.machine(
        lab.usb_stick(), "unattended", config=config, disks=(disk,), memory_mib=256
    ) as machine:
        machine.boot()
        machine.wait_for_power_off(timeout_s=300)
    assert install_disks.look(str(disk.path))[0] is Content.INSTALLED
    assert json.loads(told(disk)) == {"hostname": "installed"}
    words = environment_block.parse(file_of(disk, "orlop/append.env"))
    assert words == {"append": "a.b=c"}


def place_of(disk: Disk, partition: str) -> int:
    """Where on an installed disk *partition* begins."""
    with disk.path.open("rb") as file:

        def read(offset: int, size: int) -> bytes:
            return os.pread(file.fileno(), size, offset)

        places = install_disks.own_partitions(read, 512)
    assert places is not None
    return places[partition][0]


def file_of(disk: Disk, path: str) -> bytes:
    """A file of the boot partition."""
    start = place_of(disk, "orlop-esp")
    with disk.path.open("rb") as file:

        def read(offset: int, size: int) -> bytes:
            return os.pread(file.fileno(), size, start + offset)

        return fat_reader.read_file(read, path)


def told(disk: Disk) -> str:
    """The configuration on an installed disk."""
    at = f"{disk.path}?offset={place_of(disk, 'orlop-state')}"
    words = ["debugfs", "-R", "cat lib/orlop/config/versions/1/config.yml", at]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout
