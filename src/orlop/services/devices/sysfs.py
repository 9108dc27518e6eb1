"""Facts about devices, read from /sys.

Everything here answers with nothing where the kernel says nothing: a device may be gone at any
moment, and attributes differ between drivers. Paths are plain strings, not `pathlib`, which costs a
small service more memory than its own code.
"""

import os
from typing import NamedTuple

from orlop.services.devices.names import BlockFacts, bus_path
from orlop.services.devices.superblock import Identity
from orlop.wire.uevent import is_clean_name, parse_properties

SYS = "/sys"
MAX_ATTRIBUTE_BYTES = 4096

type DeviceNumber = tuple[int, int]


class Node(NamedTuple):
    """A device with a node under /dev. *syspath* is the real path of its directory in /sys."""

    name: str
    syspath: str
    subsystem: str


def read_attribute(directory: str, name: str) -> bytes:
    """The attribute's content, bounded; nothing if it cannot be read."""
    try:
        descriptor = os.open(f"{directory}/{name}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        return os.read(descriptor, MAX_ATTRIBUTE_BYTES)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def read_text(directory: str, name: str) -> str:
    return read_attribute(directory, name).decode(errors="replace").strip().strip("\0")


def block_nodes(sys_root: str = SYS) -> list[Node]:
    """All block devices there are now."""
    return _class_nodes(f"{sys_root}/class/block", "block")


def port_nodes(sys_root: str = SYS) -> list[Node]:
    """All virtio ports there are now."""
    return _class_nodes(f"{sys_root}/class/virtio-ports", "virtio-ports")


def _class_nodes(directory: str, subsystem: str) -> list[Node]:
    try:
        entries = sorted(os.listdir(directory))
    except OSError:
        return []
    found: list[Node] = []
    for entry in entries:
        syspath = os.path.realpath(f"{directory}/{entry}")
        name = parse_properties(read_attribute(syspath, "uevent")).get("DEVNAME", "")
        if is_clean_name(name):
            found.append(Node(name, syspath, subsystem))
    return found


def is_probeable(node: Node) -> bool:
    """Whether looking for a superblock makes sense: not on RAM, not on what has no medium."""
    if node.name.startswith(("ram", "zram", "fd", "mtdblock")):
        return False
    return size_bytes(node.syspath) > 0


def size_bytes(syspath: str) -> int:
    """The size of a block device; the kernel counts in sectors of 512 bytes."""
    text = read_text(syspath, "size")
    return int(text) * 512 if text.isdecimal() else 0


def block_facts(node: Node, identity: Identity | None) -> BlockFacts:
    """All that names are made of, for a block device that holds *identity*."""
    properties = parse_properties(read_attribute(node.syspath, "uevent"))
    number = read_text(node.syspath, "partition")
    disk = os.path.dirname(node.syspath) if number.isdecimal() else node.syspath
    return BlockFacts(
        name=node.name,
        partition=int(number) if number.isdecimal() else None,
        partition_name=properties.get("PARTNAME", ""),
        partition_uuid=properties.get("PARTUUID", ""),
        identity=identity,
        ids=disk_ids(disk),
        path=bus_path(disk, _ata_port(disk)),
        mapper_name=read_text(node.syspath, "dm/name"),
    )


def disk_ids(disk: str) -> tuple[str, ...]:
    """Identifiers of a whole disk that stay the same wherever it is plugged in, without
    partition."""
    name = os.path.basename(disk)
    device = f"{disk}/device"
    serial = read_text(disk, "serial") or read_text(device, "serial")
    model = read_text(device, "model")
    if name.startswith("vd"):
        return (f"virtio-{serial}",) if serial else ()
    if name.startswith("nvme"):
        world_wide = read_text(disk, "wwid")
        own = (f"nvme-{model}_{serial}",) if model and serial else ()
        return own + ((f"nvme-{world_wide}",) if world_wide else ())
    if name.startswith("mmcblk"):
        return (f"mmc-{read_text(device, 'name')}_{serial}",) if serial else ()
    if name.startswith("dm-"):
        found = (("dm-name", "dm/name"), ("dm-uuid", "dm/uuid"))
        return tuple(f"{key}-{text}" for key, at in found if (text := read_text(disk, at)))
    if name.startswith("md"):
        uuid = read_text(disk, "md/uuid")
        return (f"md-uuid-{uuid}",) if uuid else ()
    return _scsi_ids(device, read_text(device, "vendor"), model)


def _scsi_ids(device: str, vendor: str, model: str) -> tuple[str, ...]:
    """For `sd` and `sr`: ATA disks by their own identification, USB by the stick's, others by
    SCSI pages."""
    found: list[str] = []
    page_80 = read_attribute(device, "vpd_pg80")
    serial = page_80[4:].decode(errors="replace").strip().strip("\0") if len(page_80) > 4 else ""
    if vendor == "ATA":
        identification = read_attribute(device, "vpd_pg89")[60:]
        model = ata_string(identification, 27, 20) or model
        serial = ata_string(identification, 10, 10) or serial
        if model and serial:
            found.append(f"ata-{model}_{serial}")
    elif (usb := _usb_serial(device)) is not None:
        *_, lun = os.path.basename(os.path.realpath(device)).split(":")
        found.append(f"usb-{vendor}_{model}_{usb}-0:{lun}")
    elif serial:
        found.append(f"scsi-{serial}")
    world_wide = read_text(device, "wwid")
    if world_wide.startswith("naa."):
        found.append(f"wwn-0x{world_wide.removeprefix('naa.')}")
    return tuple(found)


def ata_string(identification: bytes, word: int, words: int) -> str:
    """A string of IDENTIFY DEVICE, whose bytes are swapped in pairs; source: ATA/ATAPI-8 ACS
    7.12."""
    raw = identification[2 * word : 2 * (word + words)]
    if len(raw) != 2 * words:
        return ""
    swapped = bytes(raw[index ^ 1] for index in range(len(raw)))
    return swapped.decode("ascii", "replace").strip().strip("\0")


def _usb_serial(device: str) -> str | None:
    """The serial number of the USB device above; None if the disk is not on USB or has none."""
    path = os.path.realpath(device)
    while path.count("/") > 3:
        path = os.path.dirname(path)
        if os.path.exists(f"{path}/idVendor"):
            return read_text(path, "serial") or None
    return None


def _ata_port(disk: str) -> str:
    """The port's number on its controller for a disk below `ataN`, else nothing."""
    head, separator, rest = disk.partition("/ata")
    if not separator:
        return ""
    port = "ata" + rest.split("/", 1)[0]
    return read_text(f"{head}/{port}/ata_port/{port}", "port_no")
