"""`./orlop run --installed` and `--keys`: which machine that is."""

from pathlib import Path

import pytest

from orlop.cli.host.run import (
    parser,
    plan_disks,
    plan_machine,
    plan_medium,
    prepare_installed,
)
from orlop.lib.errors import InvalidArgument, NotFound
from orlop.vm.spec import CdRom, Firmware, Installed


def test_a_disk_of_its_own_is_what_starts(tmp_path: Path) -> None:
    options = parser().parse_args(["--installed", "name=2g"])
    [(disk, size_bytes, _)] = plan_disks(tmp_path, [options.installed], [])
    assert size_bytes == 2 << 30
    assert plan_medium(tmp_path / "x.iso", options, [disk]) == Installed(disk)
    options = parser().parse_args(["--append", "debug"])
    with pytest.raises(InvalidArgument, match="--append"):
        plan_medium(tmp_path / "x.iso", options, [disk])


def test_keys_start_the_signed_iso_and_firmware_that_checks(tmp_path: Path) -> None:
    options = parser().parse_args(["--keys", str(tmp_path)])
    iso = tmp_path / "orlop-signed.iso"
    with pytest.raises(NotFound, match=r"orlop-signed\.iso"):
        plan_medium(iso, options)
    iso.touch()
    medium = plan_medium(iso, options)
    with pytest.raises(NotFound, match=r"ovmf-vars\.fd"):
        plan_machine(options, medium, "a", [], [])
    (tmp_path / "ovmf-vars.fd").touch()
    machine = plan_machine(options, medium, "a", [], [])
    assert machine.medium == CdRom(iso)
    assert (machine.firmware, machine.secure_boot) == (Firmware.UEFI, tmp_path / "ovmf-vars.fd")
    options = parser().parse_args(["--keys", str(tmp_path), "--append", "debug"])
    with pytest.raises(InvalidArgument, match="--append"):
        plan_medium(iso, options)


def test_a_disk_that_exists_is_not_made_again(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"kept" * 1024)
    prepare_installed(disk, None, tmp_path / "no.iso")
    prepare_installed(disk, 4096, tmp_path / "no.iso")
    with pytest.raises(InvalidArgument, match="exists with"):
        prepare_installed(disk, 8192, tmp_path / "no.iso")
    assert disk.read_bytes() == b"kept" * 1024
