"""What a virtual machine is made of, as values; and the texts people write for it.

Nothing here starts or touches anything. `vm.qemu` turns a `MachineSpec` into a command line and
`vm.machine` runs it.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from orlop.lib.errors import InvalidArgument
from orlop.lib.units import parse_size_bytes

DEFAULT_MEMORY_MIB = 512
DEFAULT_DISK_SIZE_BYTES = 4 << 30
"""A disk is a sparse file: what nobody writes costs nothing."""
MINIMUM_DISK_SIZE_BYTES = 16 << 20
"""Below this ext4 has no room for a journal."""

NAME_PATTERN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?", re.ASCII)
"""A machine's name becomes a directory, a host name and a QEMU id: letters, digits, hyphens."""

_MIB = 1 << 20
_PORT_MAX = 65535


class Firmware(StrEnum):
    """What starts the boot loader."""

    BIOS = "bios"
    UEFI = "uefi"


class DiskBus(StrEnum):
    """How a disk is attached, and so which driver the guest needs."""

    VIRTIO = "virtio"
    USB = "usb"
    NVME = "nvme"
    AHCI = "ahci"


class Protocol(StrEnum):
    """What a published port carries."""

    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True, slots=True)
class CdRom:
    """Boot from an ISO in a CD drive; a machine with more media starts the lowest index first."""

    iso: Path
    boot_index: int = 0


@dataclass(frozen=True, slots=True)
class UsbStick:
    """Boot from an ISO written to a USB stick."""

    iso: Path


@dataclass(frozen=True, slots=True)
class DirectKernel:
    """Start a kernel without firmware menus or a boot loader: quick, and with any command line."""

    kernel: Path
    initrd: Path
    command_line: str


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk backed by an image at *path*; *serial* is the id the guest sees, *format* QEMU's word.

    Every write and flush is recorded in the file *record*, which exists (dm-log-writes' format).
    """

    path: Path
    bus: DiskBus = DiskBus.VIRTIO
    serial: str = ""
    read_only: bool = False
    record: Path | None = None
    format: str = "raw"
    sector_bytes: int = 512


@dataclass(frozen=True, slots=True)
class Installed:
    """Boot from a disk with an installed system, which writes to it."""

    disk: Disk


@dataclass(frozen=True, slots=True)
class Network:
    """Boot over the first card, unless something that starts is on *disk*.

    *url* is a script on BIOS, where iPXE is in the card's ROM, and an EFI program on UEFI.
    """

    url: str
    disk: Disk


type BootMedium = CdRom | UsbStick | DirectKernel | Installed | Network


@dataclass(frozen=True, slots=True)
class Publish:
    """A port of the guest, reachable on this host's loopback; host port 0 lets QEMU choose."""

    host_port: int
    guest_port: int
    protocol: Protocol = Protocol.TCP


@dataclass(frozen=True, slots=True)
class UserNet:
    """QEMU's own network: DHCP, DHCPv6, a router at 10.0.2.2 that is this host's loopback.

    *restrict* cuts the guest off from the host and the world; only published ports work then.
    """

    publish: tuple[Publish, ...] = ()
    restrict: bool = False
    mac: str = "52:54:00:12:34:56"


@dataclass(frozen=True, slots=True)
class LinkNet:
    """A cable to one other machine: datagrams between two Unix sockets, nothing in between."""

    local: Path
    remote: Path
    mac: str


type Nic = UserNet | LinkNet


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """Everything that decides a machine's hardware.

    *nics* empty means no network card at all. *config* is the machine configuration handed over
    through fw_cfg. *rtc_start* sets the hardware clock (`2020-01-01T00:00:00`, UTC), default now.
    *hotplug_slots* are empty PCIe ports into which devices can be plugged while it runs.
    *secure_boot* is a file with the variables of UEFI firmware which can do Secure Boot; the
    machine gets a copy. `ovmf-vars.fd` of `./orlop keys new` is one.
    """

    name: str
    medium: BootMedium
    memory_mib: int = DEFAULT_MEMORY_MIB
    cpus: int = 2
    firmware: Firmware = Firmware.BIOS
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = (UserNet(),)
    config: bytes | None = None
    rtc_start: str | None = None
    hotplug_slots: int = 0
    usb: bool = False
    display: bool = True
    secure_boot: Path | None = None
    random_numbers: bool = True
    """Whether hardware gives any: a virtio-rng, RDRAND. Many a hypervisor has neither."""
    extra: tuple[str, ...] = field(default=())
    """More arguments for QEMU, as they are; for a test of one odd device."""


def parse_name(text: str) -> str:
    """Return *text* if it can name a machine.

    Raises:
        InvalidArgument: it cannot.
    """
    if NAME_PATTERN.fullmatch(text) is None:
        raise InvalidArgument(
            f"{text!r} cannot name a machine",
            hint="use up to 32 lower-case letters, digits and hyphens, no hyphen at either end",
        )
    return text


def parse_memory_mib(text: str) -> int:
    """Parse `512` (MiB), `512m` or `2g` into MiB.

    Raises:
        InvalidArgument: not a size, or below what a kernel needs to start at all.
    """
    size_bytes = int(text) * _MIB if text.isascii() and text.isdigit() else parse_size_bytes(text)
    if size_bytes < 64 * _MIB:
        raise InvalidArgument(f"a machine with {text} of memory cannot boot", hint="256 is enough")
    return size_bytes // _MIB


def parse_disk(text: str) -> tuple[str, int | None]:
    """Parse `NAME` or `NAME=SIZE` into the disk's name and its size in bytes, if given.

    Raises:
        InvalidArgument: the name is none for a file, or the size is not one or too small.
    """
    name, equals, size = text.partition("=")
    if NAME_PATTERN.fullmatch(name) is None:
        raise InvalidArgument(
            f"{name!r} cannot name a disk", hint="write --disk data or --disk data=8g"
        )
    if not equals:
        return name, None
    size_bytes = parse_size_bytes(size)
    if size_bytes < MINIMUM_DISK_SIZE_BYTES:
        raise InvalidArgument(f"disk {name} of {size} is too small", hint="16m is the least")
    return name, size_bytes - size_bytes % 4096


def parse_publish(text: str) -> Publish:
    """Parse `HOST:GUEST` or `HOST:GUEST/udp`; host port 0 lets QEMU choose a free one.

    Raises:
        InvalidArgument: another form, or a port out of range.
    """
    ports, slash, protocol_text = text.partition("/")
    host, colon, guest = ports.partition(":")
    try:
        protocol = Protocol(protocol_text) if slash else Protocol.TCP
        if not colon:
            raise ValueError(ports)
        return Publish(_port(host, lowest=0), _port(guest, lowest=1), protocol)
    except ValueError as error:
        raise InvalidArgument(
            f"{text!r} does not publish a port", hint="write --publish 8080:80 or 5353:53/udp"
        ) from error


def _port(text: str, *, lowest: int) -> int:
    if not (text.isascii() and text.isdigit()) or not lowest <= int(text) <= _PORT_MAX:
        raise ValueError(text)
    return int(text)
