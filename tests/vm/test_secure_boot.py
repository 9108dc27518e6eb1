"""Secure Boot with keys of one's own: enrolled, enforced, and nothing that was altered starts."""

import json
import subprocess
from base64 import b64decode
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from orlop.image.disk import DiskImage, make_disk
from orlop.image.key_files import MEDIUM
from orlop.image.pcr_policy import MEASURE, measure_arguments
from orlop.lib import medium
from orlop.lib.boot_record import BootRecord
from orlop.lib.disk_layout import plan_disk
from orlop.lib.process import run
from orlop.lib.unified_image import HEAD_BYTES, parse_sections
from orlop.system.storage.sealing import QUICK
from orlop.vm.qemu import BOOT_LOG, OVMF_VARIABLES
from orlop.vm.spec import CdRom, Disk, Firmware, Installed
from tests.vm import guest
from tests.vm.chip import tpm
from tests.vm.lab import Lab
from tests.vm.test_disk_image import SIZE_BYTES, Installation

PASSPHRASE = b"correct horse"
SIGNED_ISO, SIGNED_IMAGE = "orlop-signed.iso", "orlop-signed.efi"
WAIT_S = 600.0
"""The firmware runs twice, and with one processor: it cannot do more in this emulation."""


def test_keys_are_enrolled_and_the_system_is_measured(lab: Lab, keys: Path) -> None:
    """In setup mode the stick with the keys starts. After that only what is signed does: the CD.

    What a disk's key is sealed to is not what was measured, but who has signed for it.
    """
    secret = lab.disk("secret", 20)
    words = ["cryptsetup", "-q", "luksFormat", "--type", "luks2", *QUICK, str(secret.path), "-"]
    subprocess.run(words, input=PASSPHRASE, check=True)
    extras = Disk(lab.out / "orlop-extras.erofs", serial="extras", read_only=True)
    stick = f"if=none,id=keys,format=raw,snapshot=on,file={keys / MEDIUM}"
    device = "usb-storage,bus=usb.0,drive=keys,bootindex=0"
    with (
        tpm(lab.scratch / "tpm") as chip,
        lab.machine(
            CdRom(lab.out / SIGNED_ISO, boot_index=1),
            "secure",
            firmware=Firmware.UEFI,
            secure_boot=OVMF_VARIABLES,
            usb=True,
            disks=(secret, extras),
            extra=("-drive", stick, "-device", device, *chip),
        ) as machine,
    ):
        machine.boot(WAIT_S)
        assert "Access Denied" in machine.console()
        status = guest.status(machine)
        assert (status["firmware"], status["secure_boot"]) == ("uefi", "on")
        assert "[confidentiality]" in machine.succeed("cat /sys/kernel/security/lockdown")
        measured = machine.succeed("cat /sys/class/tpm/tpm0/pcr-sha256/11").strip().lower()
        seal = "orlop disks seal --json --key-file - /dev/vda"
        sealed = machine.succeed(f"printf %s '{PASSPHRASE.decode()}' | {seal}", timeout_s=WAIT_S)
        assert json.loads(sealed)["signed"] is True
    image = lab.out / SIGNED_IMAGE
    assert measured == predicted(image, 0, lab.scratch / "main")
    approved = approved_policies(image, keys / "pcr.pub")
    assert policy_digest(measured) in approved
    assert policy_digest(predicted(image, 2, lab.scratch / "recovery")) not in approved


def predicted(image: Path, profile: int, folder: Path) -> str:
    """What PCR 11 is once *profile* of *image* runs."""
    words = measure_arguments(image, profile, folder)
    answer = run([MEASURE, "calculate", *words, "--json=short"], timeout_s=60)
    return str(json.loads(answer)["sha256"][0]["hash"])


def policy_digest(value: str) -> str:
    """The policy "PCR 11 has this *value*" (TPM 2.0 Library, part 3, TPM2_PolicyPCR)."""
    selection = bytes.fromhex("00000001 000b 03 000800")
    content = bytes(32) + bytes.fromhex("0000017f") + selection
    return sha256(content + sha256(bytes.fromhex(value)).digest()).hexdigest()


def approved_policies(image: Path, public_key: Path) -> set[str]:
    """The policies that the section `.pcrsig` of *image* has a good signature for."""
    content = image.read_bytes()
    offset, size = parse_sections(content[:HEAD_BYTES])[".pcrsig"]
    key = load_pem_public_key(public_key.read_bytes())
    assert isinstance(key, RSAPublicKey)
    entries = json.loads(content[offset : offset + size])["sha256"]
    for entry in entries:
        policy = bytes.fromhex(entry["pol"])
        key.verify(b64decode(entry["sig"]), policy, PKCS1v15(), SHA256())
    return {entry["pol"] for entry in entries}


def test_nothing_unsigned_or_altered_starts(lab: Lab, keys: Path) -> None:
    """Three media, one after the other: the last gets as far as GRUB, which refuses the image."""
    content = (lab.out / SIGNED_ISO).read_bytes()
    image = (lab.out / SIGNED_IMAGE).read_bytes()
    initrd = parse_sections(image[:HEAD_BYTES])[".initrd"]
    in_image = content.index(image[:4096]) + initrd.offset_bytes + initrd.size_bytes // 2
    in_loader = content.index(b".grub\0\0\0") + (64 << 10)
    # The image on both: GRUB takes it from whichever medium of this build it finds first.
    media = {"both.iso": (in_loader, in_image), "image.iso": (in_image,)}
    extra: list[str] = []
    for number, (name, places) in enumerate(media.items(), 1):
        altered = bytearray(content)
        for at in places:
            altered[at] ^= 1
        (lab.scratch / name).write_bytes(altered)
        drive = f"if=none,id=altered{number},format=raw,readonly=on,file={lab.scratch / name}"
        device = f"usb-storage,bus=usb.0,drive=altered{number},bootindex={number}"
        extra += ["-drive", drive, "-device", device]
    with lab.machine(
        lab.cd(),
        "refused",
        firmware=Firmware.UEFI,
        secure_boot=keys / "ovmf-vars.fd",
        usb=True,
        extra=tuple(extra),
    ) as machine:
        machine.start()
        machine.wait_until(
            lambda: "bad shim signature" in machine.console(),
            "GRUB refuses the altered image",
            timeout_s=WAIT_S,
        )
        assert machine.console().count("Access Denied") == 2
        assert (machine.directory / BOOT_LOG).stat().st_size == 0


def test_installed_disk_passes_by_what_is_not_signed(lab: Lab, keys: Path, tmp_path: Path) -> None:
    """An update that nobody has signed is tried, refused, and in the same boot the old one runs."""
    path = tmp_path / "disk.raw"
    wanted = DiskImage(lab.out / SIGNED_ISO, SIZE_BYTES)
    make_disk(wanted, path, tmp_path, lambda words, env: run(words, env=env), epoch=1_700_000_000)
    source = medium.read_source(str(wanted.iso))
    disk = Installation(path, tmp_path, plan_disk(SIZE_BYTES), source)
    first = disk.source.image.id
    disk.record(BootRecord(2, first, first, disk.add_image("image.second"), first))
    with lab.machine(
        Installed(Disk(path, serial="installed")),
        "signed-disk",
        firmware=Firmware.UEFI,
        secure_boot=keys / "ovmf-vars.fd",
    ) as machine:
        machine.boot(WAIT_S)
        assert guest.status(machine)["secure_boot"] == "on"
        assert "bad shim signature" in machine.console()
