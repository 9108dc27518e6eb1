"""Growing on real disks: loop devices of files, in a mount namespace of the test's own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orlop.lib import block_ioctl, partition_table
from orlop.lib.block_ioctl import PartitionChange
from orlop.lib.mount import detach, mount
from orlop.system.storage import growth

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.engine]

MIB = 1 << 20


def losetup(*words: str | Path) -> str:
    done = subprocess.run(["losetup", *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(params=[512, 4096])
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Path, str]]:
    """A file of 64 MiB with one partition, and the loop device of it."""
    path = tmp_path / "disk"
    path.touch()
    os.truncate(path, 64 * MIB)
    layout = partition_table.make_gpt("ORLOP_STATE", 64 * MIB, request.param, bytes(32))
    with path.open("r+b") as file:
        for write in layout.writes:
            file.seek(write.offset_bytes)
            file.write(write.data)
    try:
        device = losetup("--find", "--show", "-b", str(request.param), path)
    except (subprocess.CalledProcessError, FileNotFoundError):
        pytest.skip("no loop devices here")
    try:
        yield path, device
    finally:
        losetup("--detach", device)


def may_grow_ext4() -> bool:
    """Whether root here has CAP_SYS_RESOURCE, which the kernel asks for; PID 1 has it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    effective = next(line.split()[1] for line in lines if line.startswith("CapEff"))
    return bool(int(effective, 16) >> 24 & 1)


def test_partition_and_file_system_grow_in_use(disk: tuple[Path, str], tmp_path: Path) -> None:
    path, device = disk
    descriptor = os.open(device, os.O_RDWR)
    part = f"{device}p1"
    try:
        block_ioctl.change_partition(descriptor, PartitionChange.ADD, 1, MIB, 62 * MIB)
    except OSError:
        pytest.skip("loop devices have no partitions here")
    made = not os.path.exists(part)
    if made:
        numbers = Path(f"/sys/class/block/{os.path.basename(part)}/dev").read_text().split(":")
        os.mknod(part, 0o600 | 0o060000, os.makedev(int(numbers[0]), int(numbers[1])))
    target = tmp_path / "target"
    target.mkdir()
    try:
        subprocess.run(["mkfs.ext4", "-q", "-F", part], check=True)
        mount(part, str(target), "ext4")
        (target / "kept").write_text("precious")
        record = str(target / "grown")
        os.truncate(path, 300 * MIB)
        losetup("--set-capacity", device)
        assert growth.grow_partition(growth.place_of(part)) == 298 * MIB
        assert growth.grow_partition(growth.place_of(part)) == 0
        if not may_grow_ext4():
            return
        grown = growth.grow(part, "ext4", str(target), record=record)
        assert grown is not None
        assert grown.before_bytes < 62 * MIB
        assert grown.after_bytes > 250 * MIB
        assert (target / "kept").read_text() == "precious"
        # Once for each size.
        assert growth.grow(part, "ext4", str(target), record=record) is None
        assert Path(record).read_text() == f"{300 * MIB}\n"
        assert block_ioctl.size_bytes(descriptor) == 300 * MIB
    finally:
        detach(str(target))
        block_ioctl.change_partition(descriptor, PartitionChange.DELETE, 1)
        os.close(descriptor)
        if made:
            os.unlink(part)
