"""Keys of an installation without a person: which disk, with what on it, and what then."""

from __future__ import annotations

from orlop.wire.config import kinds, kinds_install
from orlop.wire.config.row import Applies, Key

KEYS: tuple[Key, ...] = (
    Key(
        "orlop.install.disk",
        kinds_install.DISKS,
        "Install the machine on this disk, the first of the list that is there, when it runs "
        "without a state; `only` is the disk of a machine that has just one.",
        "[SERIAL=WD-1234, /dev/disk/by-id/virtio-system]",
        default="none: nothing is installed",
        applies=Applies.BOOT,
    ),
    Key(
        "orlop.install.mirror",
        kinds_install.DISKS,
        "A second disk that has everything as well (RAID 1), the first of the list that is there; "
        "`only` is the only one beside the first.",
        "SERIAL=WD-5678",
        default="none: everything is on one disk",
        applies=Applies.BOOT,
    ),
    Key(
        "orlop.install.wipe",
        kinds.BOOLEAN,
        "Whether what is on the disk may be lost, but for the state of a machine.",
        "true",
        default="false: the disk has to be empty",
        applies=Applies.BOOT,
    ),
    Key(
        "orlop.install.keep_state",
        kinds.BOOLEAN,
        "Whether the state of an Orlop that is on the disk stays as it is.",
        "true",
        default="false",
        applies=Applies.BOOT,
    ),
    Key(
        "orlop.install.encrypt",
        kinds.choice("passphrase", "keyfile", "tpm"),
        "Encrypt the state (LUKS2), and how it is opened at each boot.",
        "tpm",
        default="it is not encrypted",
        applies=Applies.BOOT,
    ),
    Key(
        "orlop.install.passphrase",
        kinds_install.PASSPHRASE,
        "What opens an encrypted state at the console, also when its TPM or key file does not.",
        "correct horse battery staple",
        default="none: for encrypt: keyfile alone",
        applies=Applies.BOOT,
        secret=True,
    ),
    Key(
        "orlop.install.key_file",
        kinds_install.KEY_FILE,
        "Where the key of an encrypted state is, now and at each boot.",
        "LABEL=KEYS:/state.key",
        default="none",
        applies=Applies.BOOT,
    ),
    Key(
        "orlop.install.config",
        kinds_install.DOCUMENT,
        "The configuration of the installed machine.",
        "{hostname: ship}",
        default="what the machine has been told, without orlop.install",
        applies=Applies.BOOT,
        secret=True,
    ),
    Key(
        "orlop.install.image",
        kinds_install.URL,
        "The ISO that is installed.",
        "http://192.0.2.1/orlop.iso",
        default="the medium that the machine was started from",
        applies=Applies.BOOT,
    ),
    Key(
        "orlop.install.image_sha256",
        kinds_install.SHA256,
        "What that file's SHA-256 must be; needed for an address without TLS.",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        default="not looked at",
        applies=Applies.BOOT,
    ),
    Key(
        "orlop.install.append",
        kinds_install.PARAMETERS,
        "Kernel parameters that are added to those of the installed system.",
        "console=ttyS1,115200",
        default="none",
        applies=Applies.BOOT,
    ),
    Key(
        "orlop.install.then",
        kinds.choice("reboot", "poweroff", "stay"),
        "What the machine does when it is installed.",
        "poweroff",
        default="reboot",
        applies=Applies.BOOT,
    ),
)
