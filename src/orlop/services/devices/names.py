"""The stable names of devices: which links under /dev a device is to have.

Pure: from facts to paths relative to /dev. The names are those that people and fstab files know
from udev (`disk/by-uuid/…`, `disk/by-id/virtio-SERIAL-part1`), encoded the same way, so that a path
that was written down elsewhere works here.
"""

import re
from typing import NamedTuple

from orlop.lib.disk_ids import MAX_NAME_BYTES, PLAIN, clean_id
from orlop.services.devices.superblock import Identity

_PCI = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_SCSI = re.compile(r"(\d+):(\d+):(\d+):(\d+)")
_USB = re.compile(r"\d+-([\d.]+):(\d+\.\d+)")


class BlockFacts(NamedTuple):
    """What is known of one block device. *ids* and *path* are those of the whole disk."""

    name: str
    partition: int | None = None
    partition_name: str = ""
    partition_uuid: str = ""
    identity: Identity | None = None
    ids: tuple[str, ...] = ()
    path: str = ""
    mapper_name: str = ""


def block_links(facts: BlockFacts) -> list[str]:
    """The links for a block device, relative to /dev, without duplicates."""
    suffix = "" if facts.partition is None else f"-part{facts.partition}"
    found = [f"disk/by-id/{name}{suffix}" for name in map(clean_id, facts.ids) if name]
    if facts.path:
        found.append(f"disk/by-path/{facts.path}{suffix}")
    if facts.partition is not None:
        found += _named(
            "disk/by-partlabel", encode_label(facts.partition_name.encode(errors="replace"))
        )
        found += _named("disk/by-partuuid", clean_id(facts.partition_uuid))
    if facts.identity is not None and not facts.identity.member:
        found += _named("disk/by-uuid", facts.identity.uuid)
        found += _named("disk/by-label", encode_label(facts.identity.label))
    found += _named("mapper", encode_label(facts.mapper_name.encode(errors="replace")))
    return list(dict.fromkeys(found))


def _named(directory: str, name: str) -> list[str]:
    return [f"{directory}/{name}"] if name else []


def encode_label(raw: bytes) -> str:
    r"""*raw* as one file name: what is not plain or printable UTF-8 becomes `\xNN`, as in udev.

    Never empty unless *raw* is, never `.` or `..`, never with a slash, at most MAX_NAME_BYTES long.
    """
    out: list[str] = []
    for char in raw.decode(errors="surrogateescape"):
        if char in PLAIN or (ord(char) > 127 and char.isprintable()):
            out.append(char)
        else:
            out += [f"\\x{byte:02x}" for byte in char.encode(errors="surrogateescape")]
    if out in (["."], [".", "."]):
        out = ["\\x2e"] * len(out)
    while len("".join(out).encode()) > MAX_NAME_BYTES:
        out.pop()
    return "".join(out)


def bus_path(syspath: str, ata_port: str = "") -> str:
    """Where a disk is plugged in, from its path under /sys; nothing where that says no more.

    *ata_port* is the number of the port on its controller, for disks below an `ataN`.
    """
    parts = syspath.split("/")
    pci = [index for index, part in enumerate(parts) if _PCI.fullmatch(part)]
    if not pci:
        return ""
    base, rest = f"pci-{parts[pci[-1]]}", parts[pci[-1] + 1 :]
    usb = [match for match in map(_USB.fullmatch, rest) if match]
    if usb:
        base += f"-usb-0:{usb[-1][1]}:{usb[-1][2]}"
    if any(part.startswith("nvme") for part in rest):
        return f"{base}-nvme-{_namespace(rest[-1])}"
    scsi = [match for match in map(_SCSI.fullmatch, rest) if match]
    if not scsi:
        return base
    if any(re.fullmatch(r"ata\d+", part) for part in rest):
        return f"{base}-ata-{ata_port}" if ata_port else ""
    # The host number counts controllers in the order they were found: not stable, so 0.
    return f"{base}-scsi-0:{scsi[-1][2]}:{scsi[-1][3]}:{scsi[-1][4]}"


def _namespace(name: str) -> str:
    match = re.fullmatch(r"nvme\d+(?:c\d+)?n(\d+)", name)
    return match[1] if match else "1"
