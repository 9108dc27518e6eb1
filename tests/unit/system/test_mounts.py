"""Mounts of the configuration: what mount(2) is asked for, and which disk is meant."""

import pytest

from orlop.lib.mount import MountFlag
from orlop.system.storage import disk_references, mounts
from orlop.system.storage.block_devices import Volume
from orlop.system.storage.disk_references import Names
from orlop.system.storage.mounts import Request
from orlop.system.storage.superblock import Superblock
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


def test_by_the_disk_it_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The links below /dev/disk are not there yet when the first mounts are made."""
    names = {"/dev/vda": Names(serial="one"), "/dev/vdb1": Names(1, "p", ids=("virtio-two",))}
    monkeypatch.setattr(disk_references, "read_names", names.__getitem__)
    for device, found in (
        ("SERIAL=one", VOLUMES[0]),
        ("PARTLABEL=p", VOLUMES[1]),
        ("/dev/disk/by-id/virtio-two-part1", VOLUMES[1]),
        ("/dev/disk/by-id/virtio-two-part2", None),
        ("/dev/disk/by-label/data", VOLUMES[0]),
    ):
        assert mounts.resolve(device, VOLUMES) == found


def test_which_disk_is_meant() -> None:
    for device, found in (
        ("LABEL=data", "/dev/vda"),
        ("UUID=CCCC-DD", "/dev/vdb1"),
        ("/dev/vdb1", "/dev/vdb1"),
    ):
        volume = mounts.resolve(device, VOLUMES)
        assert volume is not None
        assert volume.device == found
    for device in ("LABEL=x", "UUID=aaaa", "/dev/vdc", "/srv", "LABEL="):
        assert mounts.resolve(device, VOLUMES) is None
