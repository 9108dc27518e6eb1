"""Mounts of the configuration: what mount(2) is asked for, and which disk is meant."""

from orlop.lib.mount import MountFlag
from orlop.system import mounts
from orlop.system.block_devices import Volume
from orlop.system.mounts import Request
from orlop.system.superblock import Superblock
from orlop.wire.compose_model import Json

SAFE = MountFlag.NOSUID | MountFlag.NODEV
VOLUMES = [
    Volume("/dev/vda", Superblock("ext4", "data", "aaaa-bb")),
    Volume("/dev/vdb1", Superblock("xfs", "", "cccc-dd")),
]


def test_plan() -> None:
    entries: list[Json] = [
        ["LABEL=data", "/mnt/data", "auto", "defaults,nofail"],
        ["tmpfs", "/mnt/a/b", "tmpfs", "size=1m"],
        ["/dev/vdc", "/mnt/later", "ext4", "noauto"],
    ]
    assert mounts.plan(entries) == [
        Request("LABEL=data", "/var/mnt/data", "auto", "defaults,nofail"),
        Request("tmpfs", "/var/mnt/a/b", "tmpfs", "size=1m"),
    ]
    assert mounts.plan(None) == []


def test_options() -> None:
    assert mounts.kernel_options("defaults,nofail,x-initrd.mount,comment=a") == (SAFE, "")
    assert mounts.kernel_options("ro,noatime,discard,commit=30") == (
        SAFE | MountFlag.RDONLY | MountFlag.NOATIME,
        "discard,commit=30",
    )
    assert mounts.kernel_options("suid,dev,rbind")[0] == SAFE | MountFlag.BIND | MountFlag.REC


def test_which_disk_is_meant() -> None:
    for device, found in (
        ("LABEL=data", "/dev/vda"),
        ("UUID=CCCC-DD", "/dev/vdb1"),
        ("/dev/vdb1", "/dev/vdb1"),
    ):
        volume = mounts.resolve(device, VOLUMES)
        assert volume is not None
        assert volume.device == found
    for device in ("LABEL=x", "UUID=aaaa", "/dev/vdc"):
        assert mounts.resolve(device, VOLUMES) is None
