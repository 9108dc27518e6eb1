"""A state that the TPM opens under Secure Boot: for who has signed the image, and for nobody else.

Installed from the signed ISO; the keys are one's own, the firmware enforces them.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import pytest

from orlop.image.secure_boot import Keys
from orlop.lib import boot_files, environment_block, medium
from orlop.lib.boot_record import image_id
from orlop.lib.disk_layout import plan_disk
from orlop.lib.process import run
from orlop.lib.unified_image import HEAD_BYTES, describe, parse_sections
from orlop.system.storage.sealing import QUICK
from orlop.system.storage.unlocking import SEALED
from orlop.vm.spec import CdRom, Disk, Firmware, Installed
from tests.vm import guest
from tests.vm.chip import tpm
from tests.vm.next_image import make_next
from tests.vm.test_install_encrypted import answer, check_state, extras
from tests.vm.test_secure_boot import SIGNED_IMAGE, SIGNED_ISO, WAIT_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orlop.vm.machine import Machine
    from tests.vm.lab import Lab

SIZE_MIB = 600
HEADER_BYTES = 16 << 20
BUILD = "d" * 32
STRANGER = "stranger.word"
ADDED = f"{STRANGER} orlop.state.sealed=off"
CONFIG: dict[str, object] = {"orlop": {"health": {"settle": "10s", "deadline": "900s"}}}


@dataclass(frozen=True, slots=True)
class Place:
    """The disk *system* that is installed on, and the machine's TPM and keys."""

    lab: Lab
    keys: Path
    scratch: Path
    system: Disk

    @contextmanager
    def machine(self, name: str, *disks: Disk, secure: bool = True) -> Iterator[Machine]:
        with (
            tpm(self.scratch / "tpm") as chip,
            self.lab.machine(
                Installed(self.system),
                name,
                firmware=Firmware.UEFI,
                secure_boot=self.keys / "ovmf-vars.fd" if secure else None,
                disks=disks,
                extra=chip,
            ) as machine,
        ):
            yield machine

    def write(self, name: str, data: bytes) -> None:
        """A file of the boot partition, as whoever has the disk in their hands."""
        source = self.scratch / "file"
        source.write_bytes(data)
        start = plan_disk(SIZE_MIB << 20).esp.start_bytes
        run(["mcopy", "-o", "-i", f"{self.system.path}@@{start}", source, f"::{name}"])


@pytest.mark.long
def test_each_signed_release_opens_the_state_and_nothing_else_does(
    lab: Lab, keys: Path, tmp_path: Path
) -> None:
    place = Place(lab, keys, tmp_path, lab.disk("system", SIZE_MIB))
    recovery = install(place)
    words = environment_block.render({"append": ADDED}, medium.APPEND_BYTES)
    place.write(f"{boot_files.FOLDER}/{boot_files.APPEND}", words)
    following = make_next(
        lab.out / SIGNED_IMAGE,
        BUILD,
        tmp_path / "next",
        words="orlop.state.sealed",
        keys=Keys(keys),
    )
    check_update(place, following)
    check_without_secure_boot(place, recovery)
    check_swapped(place)
    check_altered(place, following)


def install(place: Place) -> str:
    """From the signed ISO; the recovery key."""
    with (
        tpm(place.scratch / "tpm") as chip,
        place.lab.machine(
            CdRom(place.lab.out / SIGNED_ISO),
            "live",
            config=CONFIG,
            firmware=Firmware.UEFI,
            secure_boot=place.keys / "ovmf-vars.fd",
            disks=(place.system, extras(place.lab)),
            extra=chip,
        ) as machine,
    ):
        machine.boot(WAIT_S)
        guest.wait_for_services(machine, timeout_s=WAIT_S)
        words = "orlop install --disk virtio-system --encrypt tpm --yes --json --poweroff"
        said = machine.succeed(words, timeout_s=2 * WAIT_S)
        assert "the image is signed with the same key" in said
        machine.wait_for_power_off()
    return str(json.loads(said.splitlines()[0])["recovery_key"])


def check_opened_by_tpm(machine: Machine, build: str) -> None:
    """Nobody has typed anything, and what was added to the command line does not count."""
    guest.wait_for_services(machine, timeout_s=WAIT_S)
    check_state(machine)
    status = guest.status(machine)
    assert (status["secure_boot"], status["build_id"]) == ("on", build)
    assert [text for text in guest.warnings(machine) if "on trial" not in text] == []
    assert STRANGER not in machine.succeed("cat /proc/cmdline")


def check_update(place: Place, following: Path) -> None:
    """Another PCR 11, and the same signer."""
    first = build_of(place.lab.out / SIGNED_IMAGE)
    with place.machine("first", Disk(following, serial="next")) as machine:
        machine.boot(WAIT_S)
        check_opened_by_tpm(machine, first)
        before = machine.succeed(PCR_11)
        device = machine.succeed("grep -l next /sys/class/block/*/serial").split("/")[4]
        image = f"head -c {following.stat().st_size} /dev/{device}"
        stage = f"{image} | orlop os stage --image - --unsigned --json"
        machine.succeed(stage, timeout_s=WAIT_S)
        machine.succeed("orlop os apply --now", timeout_s=WAIT_S)
        machine.wait_for_ready(WAIT_S)
        machine.wait_for_event("promoted", timeout_s=WAIT_S)
        check_opened_by_tpm(machine, BUILD)
        assert machine.succeed(PCR_11) != before
        guest.end(machine, "orlop", "poweroff")
        machine.wait_for_power_off()


PCR_11 = "cat /sys/class/tpm/tpm0/pcr-sha256/11"


def build_of(image: Path) -> str:
    data = image.read_bytes()
    return describe(lambda offset, size: data[offset : offset + size]).build


def check_without_secure_boot(place: Place, recovery: str) -> None:
    """The same image and TPM: its command line can be added to then, and a person has to come, who
    would not be asked if it was not."""
    with place.machine("insecure", secure=False) as machine:
        machine.start()
        answer(machine, recovery)
        guest.wait_for_services(machine)
        check_state(machine)
        assert guest.status(machine)["secure_boot"] != "on"
        assert STRANGER in machine.succeed("cat /proc/cmdline")
        [said] = [text for text in guest.warnings(machine) if "TPM" in text]
        assert "is not opened by the TPM: what the machine has measured" in said
        guest.end(machine, "orlop", "poweroff")
        machine.wait_for_power_off()


def check_swapped(place: Place) -> None:
    """Another header, whose key is known: nobody is even asked for it."""
    header = place.scratch / "header"
    header.write_bytes(bytes(2 * HEADER_BYTES))
    words = ["cryptsetup", "-q", "luksFormat", "--type", "luks2", *QUICK, "--label", "ORLOP_STATE"]
    run([*words, header, "-"], stdin=b"known")
    with place.system.path.open("r+b") as disk:
        own = exchange(disk, header.read_bytes()[:HEADER_BYTES])
        with place.machine("swapped") as machine:
            machine.boot(WAIT_S)
            guest.wait_for_services(machine, timeout_s=WAIT_S)
            storage = guest.status(machine)["storage"]
            assert isinstance(storage, dict)
            assert storage["kind"] == "memory"
            assert any(SEALED in text for text in guest.warnings(machine))
            assert "Enter passphrase" not in machine.console()
        exchange(disk, own)


def exchange(disk: BinaryIO, header: bytes) -> bytes:
    """Put *header* where the state's is; that one."""
    start = plan_disk(SIZE_MIB << 20).state.start_bytes
    disk.seek(start)
    before = disk.read(len(header))
    disk.seek(start)
    disk.write(header)
    disk.flush()
    return before


def check_altered(place: Place, image: Path) -> None:
    """A bit of it is another one, and the boot loader's own check agrees: the firmware does not."""
    data = bytearray(image.read_bytes())
    section = parse_sections(bytes(data[:HEAD_BYTES]))[".initrd"]
    at = section.offset_bytes + section.size_bytes // 2
    piece = bytes(data[at - 4096 : at + 4096])
    identity = image_id(hashlib.sha256(data).hexdigest())
    data[at] ^= 1
    with place.system.path.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as disk:
        found = disk.find(piece)
        assert found > 0
        disk[found + 4096] ^= 1
    env = f"{boot_files.IMAGES}/{identity}.env"
    start = plan_disk(SIZE_MIB << 20).esp.start_bytes
    content = run(["mtype", "-i", f"{place.system.path}@@{start}", f"::{env}"])
    sums = {env: hashlib.sha256(content.encode()), f"{env[:-3]}efi": hashlib.sha256(data)}
    text = "".join(f"{digest.hexdigest()}  /{name}\n" for name, digest in sums.items())
    place.write(f"{boot_files.IMAGES}/{identity}.sum", text.encode())
    with place.machine("altered", stick(place)) as machine:
        machine.boot(WAIT_S)
        assert "bad shim signature" in machine.console()
        guest.wait_for_services(machine, timeout_s=WAIT_S)
        status = guest.status(machine)
        assert status["build_id"] == build_of(place.lab.out / SIGNED_IMAGE)
        assert status["hostname"] != STRANGER
        check_state(machine)
        assert any("the seed disk /dev/vd" in text for text in guest.warnings(machine))


def stick(place: Place) -> Disk:
    """User data: who plugs them in is not let in."""
    folder = place.scratch / "stick"
    folder.mkdir()
    (folder / "meta-data").write_text("instance-id: stranger\n")
    (folder / "user-data").write_text(f"#cloud-config\nhostname: {STRANGER}\n")
    return place.lab.disk("stick", 16, label="cidata", content=folder)
