"""`./orlop run --installed`: which machine that is."""

from pathlib import Path

import pytest

from orlop.cli.host_run import parser, plan_disks, plan_medium, prepare_installed
from orlop.lib.errors import InvalidArgument
from orlop.vm.spec import Installed


def test_a_disk_of_its_own_is_what_starts(tmp_path: Path) -> None:
    options = parser().parse_args(["--installed", "name=2g"])
    [(disk, size_bytes, _)] = plan_disks(tmp_path, [options.installed], [])
    assert size_bytes == 2 << 30
    assert plan_medium(tmp_path, None, [disk]) == Installed(disk)
    with pytest.raises(InvalidArgument, match="--append"):
        plan_medium(tmp_path, "debug", [disk])


def test_a_disk_that_exists_is_not_made_again(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"kept" * 1024)
    prepare_installed(disk, None, tmp_path / "no.iso")
    prepare_installed(disk, 4096, tmp_path / "no.iso")
    with pytest.raises(InvalidArgument, match="exists with"):
        prepare_installed(disk, 8192, tmp_path / "no.iso")
    assert disk.read_bytes() == b"kept" * 1024
