"""What a disk is called by itself: serial numbers and world-wide names, read from /sys.

They stay the same wherever the disk is plugged in. In the form that udev has made of them, so that
a name under /dev/disk/by-id that was written down elsewhere means the same disk here. Paths are
plain strings, not `pathlib`, which costs a small service more memory than its own code.
"""

import os

MAX_ATTRIBUTE_BYTES = 4096
MAX_NAME_BYTES = 200
"""Of one link: below the 255 of every file system, whatever a label says."""

PLAIN = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#+-.:=@_")


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


def entries(directory: str) -> list[str]:
    """The names in a directory of /sys, sorted; none if it cannot be read."""
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def clean_id(text: str) -> str:
    """An identifier as part of a file name: blanks and whatever is not plain become underscores."""
    words = "_".join(text.split())
    name = "".join(char if char in PLAIN else "_" for char in words)[:MAX_NAME_BYTES]
    return "" if name in (".", "..") else name


def disk_serial(disk: str) -> str:
    """The serial number of a whole disk, whose directory in /sys is *disk*, as it was given."""
    device = f"{disk}/device"
    plain = read_text(disk, "serial") or read_text(device, "serial")
    return (
        plain or _page_80(device) or (_usb_serial(device) or "" if os.path.exists(device) else "")
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
    serial = _page_80(device)
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


def _page_80(device: str) -> str:
    """The serial number by SCSI's page for it; source: SPC-4 7.8.15."""
    page = read_attribute(device, "vpd_pg80")
    return page[4:].decode(errors="replace").strip().strip("\0") if len(page) > 4 else ""


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
