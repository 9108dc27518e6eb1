"""Disks whose sectors have 4,096 bytes (4Kn), which UEFI starts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from orlop.image.disk import DiskImage, make_disk
from orlop.lib.process import run
from orlop.vm.spec import Disk, Firmware, Installed
from tests.vm import guest
from tests.vm.updating import GOOD, LIMIT_S, next_images

if TYPE_CHECKING:
    from pathlib import Path

    from tests.vm.lab import Lab

MIB = 1 << 20
SECTOR = 4096
SIZE_BYTES, GROWN_BYTES = 1024 * MIB, 1536 * MIB
INSTALL_TIMEOUT_S = 900.0


@pytest.mark.long
def test_an_image_grows_is_updated_and_installs_another(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    settings = b"{hostname: from-the-image, orlop: {health: {settle: 5s}}}\n"
    iso = lab.out / "orlop.iso"
    wanted = DiskImage(iso, SIZE_BYTES, configuration=settings, sector_bytes=SECTOR)
    make_disk(wanted, path, tmp_path, lambda words, env: run(words, env=env), epoch=1_700_000_000)
    with path.open("r+b") as file:
        file.truncate(GROWN_BYTES)
    made = Disk(path, serial="made", sector_bytes=SECTOR)
    other = replace(lab.disk("other", 1024), sector_bytes=SECTOR)
    [image] = next_images(lab, tmp_path, GOOD)
    with lab.machine(
        Installed(made),
        "made",
        firmware=Firmware.UEFI,
        memory_mib=384,
        disks=(
            other,
            Disk(iso, serial="medium", read_only=True),
            Disk(image, serial="next", read_only=True),
        ),
    ) as machine:
        machine.boot()
        guest.wait_for_services(machine)
        assert guest.status(machine)["hostname"] == "from-the-image"
        assert guest.warnings(machine) == []
        kib = int(machine.succeed("df -Pk /var | awk 'END { print $2 }'"))
        assert kib > SIZE_BYTES >> 11, "the half of what the disk had before it grew"
        words = "orlop install --disk virtio-other --config - --yes --json"
        said = machine.succeed(
            f"echo 'hostname: installed' | {words}", timeout_s=INSTALL_TIMEOUT_S
        ).splitlines()
        assert "result" in json.loads(said[-1]), said[-1]
        stage = "orlop os stage --image - --unsigned < /dev/disk/by-id/virtio-next"
        machine.succeed(stage, timeout_s=LIMIT_S)
        # The boot loader writes to the boot partition, and the system to both records.
        machine.succeed("orlop os apply --now")
        machine.wait_for_ready(LIMIT_S)
        machine.wait_for_event("promoted", timeout_s=LIMIT_S)
        guest.wait_for_services(machine)
        assert guest.status(machine)["build_id"] == GOOD
        guest.end(machine, "orlop", "poweroff")
        machine.wait_for_power_off()
    with lab.machine(Installed(other), "installed", firmware=Firmware.UEFI) as machine:
        machine.boot()
        guest.wait_for_services(machine)
        assert guest.status(machine)["hostname"] == "installed"
        assert guest.warnings(machine) == []
