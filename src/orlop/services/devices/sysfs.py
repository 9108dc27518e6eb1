"""Facts about devices, read from /sys.

Everything here answers with nothing where the kernel says nothing: a device may be gone at any
moment, and attributes differ between drivers. Paths are plain strings, not `pathlib`, which costs a
small service more memory than its own code.
"""

import os
from typing import NamedTuple

from orlop.lib.disk_ids import disk_ids, read_attribute, read_text
from orlop.services.devices.names import BlockFacts, bus_path
from orlop.services.devices.superblock import Identity
from orlop.wire.uevent import is_clean_name, parse_properties

SYS = "/sys"

type DeviceNumber = tuple[int, int]


class Node(NamedTuple):
    """A device with a node under /dev. *syspath* is the real path of its directory in /sys."""

    name: str
    syspath: str
    subsystem: str


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


def _ata_port(disk: str) -> str:
    """The port's number on its controller for a disk below `ataN`, else nothing."""
    head, separator, rest = disk.partition("/ata")
    if not separator:
        return ""
    port = "ata" + rest.split("/", 1)[0]
    return read_text(f"{head}/{port}/ata_port/{port}", "port_no")
