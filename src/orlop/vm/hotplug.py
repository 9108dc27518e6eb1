"""Devices that come and go while a machine runs."""

from pathlib import Path

from orlop.lib.errors import InvalidArgument
from orlop.vm.qmp import Qmp
from orlop.vm.spec import DiskBus

UNPLUG_TIMEOUT_S = 60.0
"""An unplugged PCI device is gone when the guest has let go of it."""


def plug_disk(
    qmp: Qmp, name: str, image: Path, bus: DiskBus, *, slot: str | None, serial: str = ""
) -> None:
    """Attach *image* as device *name*; virtio and NVMe need a free *slot*, USB a controller.

    Raises:
        InvalidArgument: AHCI, which QEMU cannot plug, or a PCI bus without *slot*.
        QmpError: QEMU refused.
    """
    backend: dict[str, object] = {
        "node-name": f"{name}-image",
        "driver": "raw",
        "file": {"driver": "file", "filename": str(image)},
    }
    device: dict[str, object] = {"id": name, "drive": f"{name}-image"}
    if serial:
        device["serial"] = serial
    match bus:
        case DiskBus.USB:
            device |= {"driver": "usb-storage", "bus": "usb.0", "removable": True}
        case DiskBus.VIRTIO | DiskBus.NVME if slot is not None:
            driver = "virtio-blk-pci" if bus is DiskBus.VIRTIO else "nvme"
            device |= {"driver": driver, "bus": slot, "serial": serial or name}
        case _:
            raise InvalidArgument(f"a disk on {bus} cannot be plugged in here")
    qmp.execute("blockdev-add", backend)
    qmp.execute("device_add", device)


def unplug(qmp: Qmp, name: str) -> None:
    """Take device *name* away and wait until the guest has released it.

    Raises:
        DeadlineExceeded: the guest holds on to it.
    """
    qmp.execute("device_del", {"id": name})
    # A USB stick is a bridge with a disk in it, which goes first and has no id.
    while qmp.wait_for_event({"DEVICE_DELETED"}, UNPLUG_TIMEOUT_S).data.get("device") != name:
        pass
    qmp.execute("blockdev-del", {"node-name": f"{name}-image"})
