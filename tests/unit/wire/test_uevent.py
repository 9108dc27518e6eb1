"""Uevents as the kernel sends them, and what must not be taken for one."""

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.uevent import is_clean_name, parse_properties, parse_uevent

# As the kernel of a QEMU machine sends it when a virtio disk is plugged in.
ADD_DISK = b"\0".join(
    [
        b"add@/devices/pci0000:00/0000:00:02.0/0000:01:00.0/virtio3/block/vdb",
        b"ACTION=add",
        b"DEVPATH=/devices/pci0000:00/0000:00:02.0/0000:01:00.0/virtio3/block/vdb",
        b"SUBSYSTEM=block",
        b"MAJOR=254",
        b"MINOR=16",
        b"DEVNAME=vdb",
        b"DEVTYPE=disk",
        b"SEQNUM=1401",
        b"",
    ]
)


def test_disk() -> None:
    event = parse_uevent(ADD_DISK)
    assert event.action == "add"
    assert event.devpath.endswith("/block/vdb")
    assert (event.subsystem, event.devname, event.modalias) == ("block", "vdb", "")
    assert event.properties["MINOR"] == "16"


def test_module_alias() -> None:
    event = parse_uevent(b"add@/devices/x\0MODALIAS=virtio:d00000002v00001AF4\0")
    assert event.modalias == "virtio:d00000002v00001AF4"
    assert event.devname == ""


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\0",
        b"libudev\0\xfe\xed\xca\xfe",
        b"add",
        b"@/devices/x",
        b"add@relative",
        b"add@/devices/../../etc",
        b"add@/devices/x/..",
        b"a\xffd@/devices/x",
        b"add@/devices/x\0" + b"K=V\0" * 10000,
    ],
)
def test_no_event(message: bytes) -> None:
    with pytest.raises(InvalidArgument):
        parse_uevent(message)


def test_every_truncation_is_an_event_or_an_error() -> None:
    for end in range(len(ADD_DISK)):
        try:
            event = parse_uevent(ADD_DISK[:end])
        except InvalidArgument:
            continue
        assert event.devpath.startswith("/")


@pytest.mark.parametrize("name", ["../etc/passwd", "a//b", "/x", "x/", ".", "..", "", "a" * 300])
def test_device_names_stay_below_dev(name: str) -> None:
    assert not is_clean_name(name)
    assert parse_uevent(b"add@/devices/x\0DEVNAME=" + name.encode() + b"\0").devname in ("", "x")


def test_properties_of_a_file() -> None:
    text = b"MAJOR=8\nPARTNAME=boot = x\nnothing\n=empty\nMAJOR=9\n"
    assert parse_properties(text) == {"MAJOR": "9", "PARTNAME": "boot = x"}
