"""A system on two disks, each of which has everything: with both, with either, with a new one."""

from __future__ import annotations

import json
from hashlib import sha256
from mmap import ACCESS_READ, mmap
from pathlib import Path

import pytest

from orlop.lib import partition_table
from orlop.lib.disk_layout import plan_disk
from orlop.system.install.disks import MARK
from orlop.system.updates import esp_mirror
from orlop.vm.machine import Machine
from orlop.vm.spec import Disk, Firmware, Installed
from tests.vm import guest
from tests.vm.chip import tpm
from tests.vm.lab import Lab
from tests.vm.updating import GOOD, LIMIT_S, next_images

INSTALL_TIMEOUT_S = 900.0
FILL_TIMEOUT_S = 300.0
SIZE_MIB = 320
WHOLE = "orlop disks --json | grep -q '\"missing\": 0'"


def media(lab: Lab) -> tuple[Disk, Disk]:
    """What is installed, and what mirrors are made with."""
    return (
        Disk(lab.out / "orlop.iso", serial="medium", read_only=True),
        Disk(lab.out / "orlop-extras.erofs", serial="extras", read_only=True),
    )


def install(
    lab: Lab,
    first: Disk,
    second: Disk,
    more: str = "",
    *,
    keys: tuple[Disk, ...] = (),
    chip: tuple[str, ...] = (),
) -> None:
    disks = (first, second, *media(lab), *keys)
    with lab.machine(lab.kernel(), "live", disks=disks, extra=chip) as machine:
        machine.boot()
        guest.wait_for_services(machine)
        words = f"orlop install --disk virtio-first --yes --json {more}"
        assert "is named twice" in machine.fail(f"{words} --mirror vda 2>&1")
        config = "{hostname: twin, orlop: {health: {settle: 5s}}}"
        done = f"echo '{config}' | {words} --config - --mirror virtio-second --poweroff"
        said = machine.succeed(done, timeout_s=INSTALL_TIMEOUT_S).splitlines()
        assert json.loads(said[-1])["result"]["mirror"] == "virtio-second", said[-1]
        machine.wait_for_power_off()


def key_disk(lab: Lab) -> Disk:
    folder = lab.scratch / "keys"
    folder.mkdir(exist_ok=True)
    (folder / "state.key").write_text("a key of thirty-two bytes or so..")
    return lab.disk("keys", 16, label="KEYS", content=folder)


def start(machine: Machine) -> dict[str, object]:
    """What the machine says of its mirror; its state is there."""
    machine.boot()
    guest.wait_for_services(machine)
    status = guest.status(machine)
    storage = status["storage"]
    assert isinstance(storage, dict)
    assert (status["hostname"], storage["kind"]) == ("twin", "disk")
    found = storage["mirror"]
    assert isinstance(found, dict)
    return found


def stop(machine: Machine) -> None:
    guest.end(machine, "orlop", "poweroff")
    machine.wait_for_power_off()


def take_in(machine: Machine, disk: str) -> None:
    """Let *disk* become the half that is missing, and wait until it is filled."""
    assert "alone" in "".join(guest.warnings(machine))
    machine.succeed(f"orlop disks mirror {disk}", timeout_s=INSTALL_TIMEOUT_S)
    machine.wait_until_succeeds(WHOLE, timeout_s=FILL_TIMEOUT_S)
    assert guest.warnings(machine) == []


def test_without_a_person_the_second_starts_alone_and_takes_in_a_new_one(lab: Lab) -> None:
    first, second = lab.disk("first", SIZE_MIB), lab.disk("second", SIZE_MIB)
    wanted: dict[str, object] = {
        "disk": ["SERIAL=first"],
        "mirror": ["SERIAL=gone", "SERIAL=second"],
        "config": {"hostname": "twin"},
        "then": "poweroff",
    }
    config: dict[str, object] = {"orlop": {"install": wanted}}
    disks = (first, second, *media(lab))
    with lab.machine(lab.kernel(), "live", config=config, disks=disks) as machine:
        machine.boot()
        machine.wait_for_power_off(timeout_s=INSTALL_TIMEOUT_S)
    new = lab.disk("new", SIZE_MIB + 8)
    with lab.machine(Installed(second), "second", disks=(new,)) as machine:
        assert start(machine)["missing"] == 1
        take_in(machine, "virtio-new")
        refused = machine.fail("orlop disks mirror virtio-new 2>&1")
        assert "has both its halves" in refused


@pytest.mark.long
def test_the_first_is_finished_by_the_machine_that_the_second_starts(lab: Lab) -> None:
    """The power went between the last write to the second disk and the last one to the first."""
    first, second = lab.disk("first", SIZE_MIB), lab.disk("second", SIZE_MIB)
    install(lab, first, second)
    with second.path.open("rb") as disk:
        guid = disk.read(1024)[512 + 56 :][:16]
    with first.path.open("r+b") as disk:
        disk.write(partition_table.marked_sector(MARK + guid, 512).data)
    with lab.machine(Installed(second), "second", disks=(first,)) as machine:
        start(machine)
        machine.wait_until_succeeds(WHOLE, timeout_s=INSTALL_TIMEOUT_S)
        stop(machine)
    with lab.machine(Installed(first), "first") as machine:
        assert start(machine)["missing"] == 1


@pytest.mark.long
def test_an_update_is_on_both(lab: Lab, tmp_path: Path) -> None:
    [image] = next_images(lab, tmp_path, GOOD)
    first, second = lab.disk("first", SIZE_MIB), lab.disk("second", SIZE_MIB)
    install(lab, first, second)
    disks = (second, Disk(image, serial="next", read_only=True))
    destroy_boot_partition(second)
    with lab.machine(Installed(first), "update", memory_mib=384, disks=disks) as machine:
        start(machine)
        machine.wait_until_succeeds("orlop status --json | grep -q 'made anew'", timeout_s=LIMIT_S)
        machine.succeed("orlop os verify", timeout_s=LIMIT_S)
        assert on(first) == on(second)
        stage = "orlop os stage --image - --unsigned < /dev/disk/by-id/virtio-next"
        machine.succeed(stage, timeout_s=LIMIT_S)
        assert on(first) == on(second)
        machine.succeed("orlop os apply --now")
        machine.wait_for_ready(LIMIT_S)
        machine.wait_for_event("promoted", timeout_s=LIMIT_S)
        guest.wait_for_services(machine)
        stop(machine)
    assert on(first) == on(second)
    with lab.machine(Installed(second), "second", memory_mib=384) as machine:
        start(machine)
        assert guest.status(machine)["build_id"] == GOOD


def damage(disk: Disk, image: Path) -> None:
    """Flip a bit in the middle of *image*, which is on *disk*."""
    middle = image.stat().st_size // 2 & ~4095
    with image.open("rb") as source:
        source.seek(middle)
        piece = source.read(4096)
    with disk.path.open("r+b") as target:
        at = mmap(target.fileno(), 0, access=ACCESS_READ).find(piece)
        assert at > 0
        target.seek(at)
        target.write(bytes([piece[0] ^ 1]))


def destroy_boot_partition(disk: Disk) -> None:
    """There is no file system of any kind on that of *disk*."""
    with disk.path.open("r+b") as target:
        target.seek(plan_disk(SIZE_MIB << 20).esp.start_bytes)
        target.write(b"\xa5" * (4 << 20))


def on(disk: Disk) -> tuple[object, object]:
    """The boot record, and the files, of the boot partition of *disk*."""
    place = plan_disk(SIZE_MIB << 20).esp
    partition = disk.path.with_suffix(".esp")
    with disk.path.open("rb") as source:
        source.seek(place.start_bytes)
        partition.write_bytes(source.read(place.size_bytes))
    found = esp_mirror.look(str(partition))
    assert found.record is not None
    return found.record, found.files


@pytest.mark.long
def test_with_both_with_either_and_with_one_that_comes_back(lab: Lab) -> None:
    first, second = lab.disk("first", SIZE_MIB), lab.disk("second", SIZE_MIB)
    install(lab, first, second)
    with lab.machine(Installed(first), "both", disks=(second,)) as machine:
        assert start(machine)["missing"] == 0
        assert guest.warnings(machine) == []
        machine.succeed("echo both > /root/kept; sync")
        stop(machine)
    with lab.machine(Installed(second), "second") as machine:
        assert start(machine)["missing"] == 1
        machine.succeed("grep -q both /root/kept; echo second > /root/kept; sync")
        stop(machine)
    # The first, which starts the machine, has an old half, and is not used.
    with lab.machine(Installed(first), "old", disks=(second,)) as machine:
        assert start(machine)["missing"] == 1
        machine.succeed("grep -q second /root/kept")
        take_in(machine, "virtio-first")
        stop(machine)
    with lab.machine(Installed(first), "first") as machine:
        assert start(machine)["missing"] == 1
        machine.succeed("grep -q second /root/kept")
        stop(machine)


@pytest.mark.long
def test_each_was_used_alone(lab: Lab) -> None:
    """The one that was used last counts, and nothing is written to the other before a person says
    so, neither to its state nor to its boot partition."""
    first, second = lab.disk("first", SIZE_MIB), lab.disk("second", SIZE_MIB)
    install(lab, first, second)
    for disk in (first, second):
        with lab.machine(Installed(disk), disk.serial) as machine:
            assert start(machine)["missing"] == 1
            machine.succeed(f"echo {disk.serial} > /root/kept; sync")
            stop(machine)
    before = sha256(first.path.read_bytes()).digest()
    with lab.machine(Installed(first), "both", disks=(second,)) as machine:
        found = start(machine)
        assert found["missing"] == 1
        assert "was used without it, last on" in str(found["problem"])
        machine.succeed("grep -q second /root/kept; sync")
        refused = machine.fail("orlop disks mirror virtio-first 2>&1")
        assert "would be lost" in refused
        assert "--wipe" in refused
        assert sha256(first.path.read_bytes()).digest() == before
        take_in(machine, "virtio-first --wipe")
        stop(machine)
    with lab.machine(Installed(first), "again") as machine:
        assert start(machine)["missing"] == 1
        machine.succeed("grep -q second /root/kept")
        stop(machine)


@pytest.mark.long
def test_the_tpm_opens_it_on_either_and_on_a_new_one(lab: Lab) -> None:
    first, second = lab.disk("first", SIZE_MIB), lab.disk("second", SIZE_MIB)
    new = lab.disk("new", SIZE_MIB)
    with tpm(lab.scratch / "tpm") as chip:
        install(lab, first, second, "--encrypt tpm", chip=chip)
    for disk, other in ((first, second), (second, new), (new, None)):
        with (
            tpm(lab.scratch / "tpm") as chip,
            lab.machine(
                Installed(disk),
                disk.serial,
                disks=() if other is None else (other,),
                extra=chip,
            ) as machine,
        ):
            assert start(machine)["missing"] == (disk is not first)
            status = guest.status(machine)["storage"]
            assert isinstance(status, dict)
            assert status["device"] == "/dev/mapper/orlop-state"
            if other is new:
                take_in(machine, "virtio-new")
                machine.succeed("echo second > /root/kept; sync")
            elif disk is new:
                machine.succeed("grep -q second /root/kept")
            stop(machine)


@pytest.mark.long
def test_encrypted_and_with_a_damaged_image_on_the_second(lab: Lab) -> None:
    first, second = lab.disk("first", SIZE_MIB), lab.disk("second", SIZE_MIB)
    keys = (key_disk(lab),)
    how = "--encrypt keyfile --key-file LABEL=KEYS:/state.key"
    install(lab, first, second, how, keys=keys)
    damage(second, lab.out / "orlop.efi")
    with lab.machine(
        Installed(first), "both", firmware=Firmware.UEFI, disks=(second, *keys)
    ) as machine:
        assert start(machine)["missing"] == 0
        assert guest.warnings(machine) == []
        said = machine.fail("orlop os verify 2>&1", timeout_s=LIMIT_S)
        assert "was damaged, and is copied anew" in said
        machine.succeed("orlop os verify", timeout_s=LIMIT_S)
        stop(machine)
    with lab.machine(Installed(second), "second", firmware=Firmware.UEFI, disks=keys) as machine:
        assert start(machine)["missing"] == 1
