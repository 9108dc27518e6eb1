"""The QEMU command line of a machine, as pure data.

QEMU is started with the machine's directory as its working directory and given relative names
for everything that lives there. So a socket's path never meets the limit of 108 bytes, however
deep the cache is, and the line can be pasted after a `cd`.

Nothing QEMU would add by itself is there (`-nodefaults`), and it may not start programs or gain
privileges (`-sandbox`): the guest may be hostile.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from orlop.vm.spec import (
    BootMedium,
    CdRom,
    DirectKernel,
    Disk,
    DiskBus,
    Firmware,
    Installed,
    LinkNet,
    MachineSpec,
    Network,
    Nic,
    Publish,
    UsbStick,
    UserNet,
)

PROGRAM = "qemu-system-x86_64"

QMP_SOCKET = "qmp.sock"
CONSOLE_SOCKET = "console.sock"
CONSOLE_LOG = "console.log"
BOOT_LOG = "boot.log"
AGENT_SOCKET = "agent.sock"
CONFIG_FILE = "config.yml"
PID_FILE = "qemu.pid"
UEFI_VARIABLES = "uefi-vars.fd"

BOOT_PORT = "org.orlop.boot.0"
AGENT_PORT = "org.orlop.agent.0"
CONFIG_ITEM = "opt/org.orlop/config"

OVMF_CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
OVMF_SECURE_CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd")
OVMF_VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
"""From Debian's `ovmf`; the variables are a template that each machine copies."""

HOTPLUG_BUS = "slot{index}"


@dataclass(frozen=True, slots=True)
class Accelerator:
    """How QEMU runs the guest's instructions, and the processor it shows."""

    argument: str
    cpu: str

    @property
    def name(self) -> str:
        return self.argument.partition(",")[0]


KVM = Accelerator("kvm", "host")
# 5-level page tables cost the emulator a level on every miss and a machine of this size has no
# use for them.
TCG = Accelerator("tcg,thread=multi", "max,la57=off")


def command_line(spec: MachineSpec, accelerator: Accelerator) -> list[str]:
    """The words that start *spec*; the working directory must be the machine's."""
    return [
        PROGRAM,
        *_machine(spec, accelerator),
        *_firmware(spec),
        *_channels(spec),
        *_usb(spec),
        *_medium(spec.medium),
        *(word for index, disk in enumerate(spec.disks) for word in _disk(index, disk)),
        *(word for index, nic in enumerate(spec.nics) for word in _nic(index, nic, spec.medium)),
        *_slots(spec),
        *spec.extra,
    ]


def _machine(spec: MachineSpec, accelerator: Accelerator) -> list[str]:
    words = ["-name", f"guest={spec.name}", "-nodefaults", "-no-user-config"]
    words += ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny"]
    cpu = accelerator.cpu if spec.random_numbers else f"{accelerator.cpu},-rdrand,-rdseed"
    # Without system management mode: each entry into it swaps the memory map, a race that QEMU 10
    # under multi-threaded emulation can lose by an assertion. Secure Boot cannot do without.
    smm, argument = "off", accelerator.argument
    if spec.secure_boot is not None:
        smm, argument = "on", argument.replace("thread=multi", "thread=single")
    words += ["-machine", f"q35,smm={smm}", "-accel", argument, "-cpu", cpu]
    words += ["-smp", str(spec.cpus), "-m", f"{spec.memory_mib}M"]
    words += ["-rtc", f"base={spec.rtc_start or 'utc'},clock=host"]
    words += ["-display", "none", "-vga", "std" if spec.display else "none"]
    if spec.random_numbers:
        words += ["-object", "rng-random,id=entropy,filename=/dev/urandom"]
        words += ["-device", "virtio-rng-pci,rng=entropy"]
    words += ["-device", "i6300esb", "-action", "watchdog=reset"]
    # A panic is an event for whoever listens; what follows it is the guest's own choice (panic=).
    words += ["-device", "pvpanic", "-action", "panic=none"]
    return words


def _firmware(spec: MachineSpec) -> list[str]:
    if spec.firmware is Firmware.BIOS:
        return []
    code = OVMF_CODE if spec.secure_boot is None else OVMF_SECURE_CODE
    words = ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}"]
    words += ["-drive", f"if=pflash,unit=1,format=raw,file={UEFI_VARIABLES}"]
    if spec.secure_boot is not None:
        # Only code in system management mode may write the variables.
        words += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
    return words


def _channels(spec: MachineSpec) -> list[str]:
    """The ways in and out besides the network: QMP, serial console, boot channel, agent.

    The boot channel is a file and not a socket: the guest can always write to it, and whoever
    comes later still reads the whole boot.
    """
    console = f"socket,id=console,path={CONSOLE_SOCKET},server=on,wait=off"
    console += f",logfile={CONSOLE_LOG},logappend=on"
    words = [
        *("-pidfile", PID_FILE),
        *("-chardev", f"socket,id=qmp,path={QMP_SOCKET},server=on,wait=off"),
        *("-mon", "chardev=qmp,mode=control"),
        *("-chardev", console),
        *("-serial", "chardev:console"),
        # Of the 31 ports that are the default each costs the guest's kernel a third of a megabyte.
        *("-device", "virtio-serial-pci,id=ports,max_ports=4"),
        *("-chardev", f"file,id=boot,path={BOOT_LOG},append=on"),
        *("-device", f"virtserialport,bus=ports.0,chardev=boot,name={BOOT_PORT}"),
        *("-chardev", f"socket,id=agent,path={AGENT_SOCKET},server=on,wait=off"),
        *("-device", f"virtserialport,bus=ports.0,chardev=agent,name={AGENT_PORT}"),
    ]
    if spec.config is not None:
        words += ["-fw_cfg", f"name={CONFIG_ITEM},file={CONFIG_FILE}"]
    return words


def _usb(spec: MachineSpec) -> list[str]:
    disks = [*spec.disks, *([spec.medium.disk] if isinstance(spec.medium, Installed) else ())]
    wanted = (
        spec.usb
        or isinstance(spec.medium, UsbStick)
        or any(disk.bus is DiskBus.USB for disk in disks)
    )
    return ["-device", "qemu-xhci,id=usb"] if wanted else []


def _medium(medium: BootMedium) -> list[str]:
    match medium:
        case CdRom(iso, index):
            drive = f"if=none,id=boot,media=cdrom,readonly=on,format=raw,file={_file(iso)}"
            device = f"ide-cd,bus=ide.0,drive=boot,bootindex={index}"
            return ["-drive", drive, "-device", device]
        case UsbStick(iso):
            # A stick can be written to; the image on this host must stay as it was built.
            drive = f"if=none,id=boot,snapshot=on,format=raw,file={_file(iso)}"
            device = "usb-storage,bus=usb.0,drive=boot,bootindex=0,removable=on"
            return ["-drive", drive, "-device", device]
        case DirectKernel(kernel, initrd, line):
            return ["-kernel", str(kernel), "-initrd", str(initrd), "-append", line]
        case Installed(disk) | Network(disk=disk):
            device = f"{disk_device('boot', _INSTALLED_INDEX, disk)},bootindex=0"
            return ["-drive", _drive("boot", disk), "-device", device]


_SECTOR_BYTES = 512
_INSTALLED_INDEX = 4
"""The port of the controller for an installed AHCI disk: behind those of the other disks."""


def _disk(index: int, disk: Disk) -> list[str]:
    name = f"disk{index}"
    return ["-drive", _drive(name, disk), "-device", disk_device(name, index, disk)]


def _drive(name: str, disk: Disk) -> str:
    read_only = ",readonly=on" if disk.read_only else ""
    if disk.record is None:
        return f"if=none,id={name},format={disk.format},file={_file(disk.path)}{read_only}"
    places = {"file": disk.path, "log": disk.record}
    files = [
        f"{child}.driver=raw,{child}.file.driver=file,{child}.file.filename={_file(path)}"
        for child, path in places.items()
    ]
    return f"if=none,id={name},driver=blklogwrites,{','.join(files)}"


def disk_device(drive: str, index: int, disk: Disk) -> str:
    """The `-device` value that attaches block node *drive* as *disk*."""
    serial = f",serial={disk.serial}" if disk.serial else ""
    if disk.sector_bytes != _SECTOR_BYTES:
        size = disk.sector_bytes
        serial += f",logical_block_size={size},physical_block_size={size}"
    match disk.bus:
        case DiskBus.VIRTIO:
            # What is recorded has one piece more than what is written: a merged one has no room.
            alone = ",request-merging=off" if disk.record is not None else ""
            return f"virtio-blk-pci,drive={drive}{serial}{alone}"
        case DiskBus.USB:
            return f"usb-storage,bus=usb.0,drive={drive}{serial}"
        case DiskBus.NVME:
            return f"nvme,drive={drive},serial={disk.serial or drive}"
        case DiskBus.AHCI:
            # ide.0 is the CD drive's.
            return f"ide-hd,bus=ide.{index + 1},drive={drive}{serial}"


def _nic(index: int, nic: Nic, medium: BootMedium) -> list[str]:
    name = f"net{index}"
    url = medium.url if index == 0 and isinstance(medium, Network) else ""
    match nic:
        case UserNet(publish, restrict, mac):
            options = f"user,id={name}" + (",restrict=on" if restrict else "")
            options += f",bootfile={url}" if url else ""
            forwards = "".join(f",hostfwd={forward(entry)}" for entry in publish)
            return [*("-netdev", options + forwards), *_card(name, mac, boots=bool(url))]
        case LinkNet(local, remote, mac):
            options = (
                f"dgram,id={name},local.type=unix,local.path={_file(local)}"
                f",remote.type=unix,remote.path={_file(remote)}"
            )
            # Of a known speed: partners by LACP ask for it.
            return [*("-netdev", options), *_card(name, f"{mac},speed=1000,duplex=full")]


def _card(netdev: str, mac: str, *, boots: bool = False) -> list[str]:
    # No option ROM where nothing boots from the network: the firmware starts sooner without. UEFI
    # has a driver of its own, and uses that.
    end = "bootindex=1" if boots else "romfile="
    return ["-device", f"virtio-net-pci,netdev={netdev},mac={mac},{end}"]


def forward(entry: Publish) -> str:
    """The `hostfwd` value of a published port: on loopback only, other hosts have no business."""
    return f"{entry.protocol}:127.0.0.1:{entry.host_port}-:{entry.guest_port}"


def _slots(spec: MachineSpec) -> list[str]:
    """Empty PCIe ports: devices on the q35 root complex itself cannot be plugged while it runs."""
    words: list[str] = []
    for index in range(spec.hotplug_slots):
        bus = HOTPLUG_BUS.format(index=index)
        words += ["-device", f"pcie-root-port,id={bus},chassis={index + 1},slot={index + 1}"]
    return words


def _file(path: Path) -> str:
    """A file name inside an option list, where a comma ends the value unless doubled."""
    return os.fspath(path).replace(",", ",,")
