"""What a disk or partition is called on the kernel command line, and which one that means.

`LABEL=`, `UUID=`, `PARTLABEL=`, `PARTUUID=`, `SERIAL=` (the disk's own number), `ID=`, `/dev/NAME`,
and the names below /dev/disk, which are understood without the links: those are made by a service,
and the state is looked for before there are services.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib.disk_ids import clean_id, disk_ids, disk_serial, read_attribute, read_text
from orlop.system.storage.superblock import PARTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.system.storage.block_devices import Volume

KINDS = ("LABEL", "UUID", "PARTLABEL", "PARTUUID", "SERIAL", "ID")
SYS_BLOCK = "/sys/class/block"

_LINKS = {
    "/dev/disk/by-label/": "LABEL",
    "/dev/disk/by-uuid/": "UUID",
    "/dev/disk/by-partlabel/": "PARTLABEL",
    "/dev/disk/by-partuuid/": "PARTUUID",
    "/dev/disk/by-id/": "ID",
}


@dataclass(frozen=True, slots=True)
class Names:
    """What a device is called besides its file system's names. *partition* is 0 for a disk."""

    partition: int = 0
    part_label: str = ""
    part_uuid: str = ""
    serial: str = ""
    ids: tuple[str, ...] = ()


def split(text: str) -> tuple[str, str]:
    """*text* as kind and value; the kind of a device's own path is `DEVICE`.

    Raises:
        ValueError: it is neither.
    """
    for link, kind in _LINKS.items():
        if text.startswith(link) and text != link:
            return kind, text.removeprefix(link)
    kind, equals, value = text.partition("=")
    if equals and kind in KINDS and value:
        return kind, value
    if text.startswith("/dev/") and ".." not in text:
        return "DEVICE", text
    raise ValueError("must be LABEL=, UUID=, PARTLABEL=, PARTUUID=, SERIAL=, ID= or /dev/...")


def read_names(device: str, sys_block: str = SYS_BLOCK) -> Names:
    """What the kernel says of *device*. Reads a dozen small files."""
    name = device.removeprefix("/dev/").replace("/", "!")
    directory = os.path.realpath(f"{sys_block}/{name}")
    number = read_text(directory, "partition")
    disk = os.path.dirname(directory) if number.isdecimal() else directory
    lines = read_attribute(directory, "uevent").decode(errors="replace").splitlines()
    properties = dict(line.partition("=")[::2] for line in lines)
    return Names(
        int(number) if number.isdecimal() else 0,
        properties.get("PARTNAME", ""),
        properties.get("PARTUUID", ""),
        disk_serial(disk),
        disk_ids(disk),
    )


def needs_names(kind: str) -> bool:
    """Whether `matches` looks at what `read_names` reads."""
    return kind not in ("LABEL", "UUID", "DEVICE")


def matches(kind: str, value: str, volume: Volume, names: Names) -> bool:
    """Whether *volume*, called *names*, is what the reference means; pure."""
    match kind:
        case "LABEL" | "UUID" if volume.superblock.fstype in PARTS:
            return False  # the array's own, not those of what is in it
        case "LABEL":
            return volume.superblock.label == value
        case "UUID":
            return volume.superblock.uuid == value.lower()
        case "DEVICE":
            return volume.device == value
        case _:
            return names_match(kind, value, names)


def names_match(kind: str, value: str, names: Names) -> bool:
    """The same by what does not depend on the content. A disk's name means its partitions too."""
    match kind:
        case "PARTLABEL":
            return names.part_label == value
        case "PARTUUID":
            return names.part_uuid.lower() == value.lower()
        case "SERIAL":
            return bool(names.serial) and value in (names.serial, clean_id(names.serial))
        case "ID":
            suffix = f"-part{names.partition}"
            return any(clean_id(i) in (value, value.removesuffix(suffix)) for i in names.ids)
        case _:
            return False


def prefer(volumes: Sequence[Volume], label: str) -> list[Volume]:
    """Of several on one disk, those with *label*, if there are any."""
    return [v for v in volumes if v.superblock.label == label] or [*volumes]
