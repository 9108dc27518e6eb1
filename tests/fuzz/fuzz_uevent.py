"""A kernel event is parsed or refused as invalid, and its names are no paths to anywhere else."""

from __future__ import annotations

from orlop.lib.errors import InvalidArgument
from orlop.wire.uevent import parse_properties, parse_uevent

SEEDS = (
    b"add@/devices/pci0/net/eth0\0ACTION=add\0DEVPATH=/devices/pci0/net/eth0\0SUBSYSTEM=net\0",
    b"add@/d\0ACTION=add\0DEVPATH=/d\0SUBSYSTEM=block\0DEVNAME=sda\0MAJOR=8\0MINOR=0\0SEQNUM=7\0",
)
TOKENS = (b"\0", b"=", b"@", b"..", b"/", b"DEVNAME=", b"MODALIAS=pci:v\n")


def check(data: bytes) -> None:
    parse_properties(data)
    try:
        event = parse_uevent(data)
    except InvalidArgument:
        return
    assert isinstance(event.subsystem, str)
    assert ".." not in event.devname.split("/")
