"""The QEMU command line of a machine."""

from pathlib import Path

import pytest

from orlop.vm.qemu import KVM, TCG, command_line
from orlop.vm.spec import (
    CdRom,
    DirectKernel,
    Disk,
    DiskBus,
    Firmware,
    Installed,
    LinkNet,
    MachineSpec,
    Network,
    Publish,
    UsbStick,
    UserNet,
)

ISO = CdRom(Path("/out/orlop.iso"))


def values(argv: list[str], option: str) -> list[str]:
    """The values of every *option* on a command line."""
    return [argv[index + 1] for index, word in enumerate(argv) if word == option]


def test_nothing_is_there_that_was_not_asked_for() -> None:
    argv = command_line(MachineSpec("a", ISO), TCG)
    assert "-nodefaults" in argv
    assert "-no-user-config" in argv
    assert values(argv, "-sandbox") == ["on,obsolete=deny,elevateprivileges=deny,spawn=deny"]
    assert values(argv, "-smp") == ["2"]
    assert values(argv, "-m") == ["512M"]
    assert not any("xhci" in value for value in values(argv, "-device"))
    assert not values(argv, "-fw_cfg")


def test_accelerators() -> None:
    assert values(command_line(MachineSpec("a", ISO), KVM), "-accel") == ["kvm"]
    argv = command_line(MachineSpec("a", ISO), TCG)
    assert values(argv, "-accel") == ["tcg,thread=multi"]
    assert values(argv, "-cpu") == ["max,la57=off"]


def test_channels() -> None:
    devices = values(command_line(MachineSpec("a", ISO), TCG), "-device")
    assert "virtserialport,bus=ports.0,chardev=boot,name=org.orlop.boot.0" in devices
    assert "virtserialport,bus=ports.0,chardev=agent,name=org.orlop.agent.0" in devices


def test_sockets_and_logs_have_relative_names() -> None:
    """The limit of 108 bytes for a socket's path is never met."""
    for value in values(command_line(MachineSpec("a", ISO), TCG), "-chardev"):
        path = next(part for part in value.split(",") if part.startswith("path="))
        assert "/" not in path


def test_cd_and_stick() -> None:
    cd = command_line(MachineSpec("a", ISO), TCG)
    assert "ide-cd,bus=ide.0,drive=boot,bootindex=0" in values(cd, "-device")
    stick = command_line(MachineSpec("a", UsbStick(Path("/o,o.iso"))), TCG)
    assert "qemu-xhci,id=usb" in values(stick, "-device")
    # The guest may write to its stick; the file must stay as it was built.
    assert values(stick, "-drive") == ["if=none,id=boot,snapshot=on,format=raw,file=/o,,o.iso"]


def test_direct_kernel() -> None:
    medium = DirectKernel(Path("/k"), Path("/i"), "quiet orlop.debug")
    argv = command_line(MachineSpec("a", medium), TCG)
    assert values(argv, "-append") == ["quiet orlop.debug"]
    assert not values(argv, "-drive")


def test_uefi_has_variables_of_its_own() -> None:
    drives = values(command_line(MachineSpec("a", ISO, firmware=Firmware.UEFI), TCG), "-drive")
    assert any("unit=0" in drive and "readonly=on" in drive for drive in drives)
    assert "if=pflash,unit=1,format=raw,file=uefi-vars.fd" in drives


@pytest.mark.parametrize(
    ("bus", "device"),
    [
        (DiskBus.VIRTIO, "virtio-blk-pci,drive=disk0,serial=s"),
        (DiskBus.USB, "usb-storage,bus=usb.0,drive=disk0,serial=s"),
        (DiskBus.NVME, "nvme,drive=disk0,serial=s"),
        (DiskBus.AHCI, "ide-hd,bus=ide.1,drive=disk0,serial=s"),
    ],
)
def test_disks(bus: DiskBus, device: str) -> None:
    spec = MachineSpec("a", ISO, disks=(Disk(Path("/d.img"), bus, serial="s"),))
    argv = command_line(spec, TCG)
    assert device in values(argv, "-device")
    assert ("qemu-xhci,id=usb" in values(argv, "-device")) == (bus is DiskBus.USB)


def test_user_network() -> None:
    nic = UserNet(publish=(Publish(0, 22), Publish(8080, 80)), restrict=True)
    assert values(command_line(MachineSpec("a", ISO, nics=(nic,)), TCG), "-netdev") == [
        "user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:0-:22,hostfwd=tcp:127.0.0.1:8080-:80"
    ]


def test_the_card_goes_after_a_disk_with_a_system() -> None:
    medium = Network("http://10.0.2.2:1/a.ipxe", Disk(Path("/d.img")))
    argv = command_line(MachineSpec("a", medium), TCG)
    assert values(argv, "-netdev") == ["user,id=net0,bootfile=http://10.0.2.2:1/a.ipxe"]
    [card] = [value for value in values(argv, "-device") if value.startswith("virtio-net")]
    assert card.endswith(",bootindex=1")
    assert "virtio-blk-pci,drive=boot,bootindex=0" in values(argv, "-device")


def test_no_network() -> None:
    argv = command_line(MachineSpec("a", ISO, nics=()), TCG)
    assert not values(argv, "-netdev")
    assert not any("net" in device for device in values(argv, "-device"))


def test_cable() -> None:
    nic = LinkNet(Path("/l/a"), Path("/l/b"), "52:54:00:00:00:01")
    assert values(command_line(MachineSpec("a", ISO, nics=(nic,)), TCG), "-netdev") == [
        "dgram,id=net0,local.type=unix,local.path=/l/a,remote.type=unix,remote.path=/l/b"
    ]


def test_slots_and_configuration() -> None:
    argv = command_line(MachineSpec("a", ISO, hotplug_slots=2, config=b"x"), TCG)
    ports = [value for value in values(argv, "-device") if value.startswith("pcie-root-port")]
    assert ports == [
        "pcie-root-port,id=slot0,chassis=1,slot=1",
        "pcie-root-port,id=slot1,chassis=2,slot=2",
    ]
    assert values(argv, "-fw_cfg") == ["name=opt/org.orlop/config,file=config.yml"]


@pytest.mark.parametrize("bus", list(DiskBus))
def test_an_installed_disk_is_started_and_written_to(bus: DiskBus) -> None:
    disk = Disk(Path("/d,d.raw"), bus, serial="installed")
    words = command_line(MachineSpec("a", Installed(disk), disks=(Disk(Path("/x"), bus),)), TCG)
    assert "if=none,id=boot,format=raw,file=/d,,d.raw" in words
    [device] = [word for word in words if "drive=boot" in word]
    assert device.endswith("serial=installed,bootindex=0")
    assert ("qemu-xhci,id=usb" in words) == (bus is DiskBus.USB)
