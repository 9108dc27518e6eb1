"""One entry of `mounts`, as fstab and cloud-init have it: device, directory, type, options. Pure.

Source: cloud-init's cc_mounts, RancherOS cmd/control/console_init.go.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orlop.wire.compose_model import Json
    from orlop.wire.compose_values import Fields

PLACE = "/mnt/"
MAX_MOUNTS = 64

DEVICE = (
    r"(LABEL|UUID|PARTLABEL|PARTUUID|SERIAL|ID)=[^\s/]{1,64}|/dev/[A-Za-z0-9_./:+#@=\\-]{1,200}"
)
DEVICE_FORMS = "LABEL=, UUID=, PARTLABEL=, PARTUUID=, SERIAL=, ID= or /dev/"
_SHORT = r"[a-z]{2,}[a-z0-9]{1,30}"
_DIRECTORY = r"/mnt(/[^\s/]{1,200}){1,8}"
_OPTIONS = r"[A-Za-z0-9_=.:%+/-]+(,[A-Za-z0-9_=.:%+/-]+)*"
NFS = ("nfs", "nfs4")
TYPES = ("auto", "ext4", "xfs", "btrfs", "vfat", "iso9660", "tmpfs", "none", *NFS)
LATER = {"cifs": "CIFS is"}
SHARE = r"([A-Za-z0-9._-]{1,253}|\[[0-9a-fA-F:.%a-z]{2,64}\]):/[^\s,]{0,500}"
SWAP = "swap"


def check(fields: Fields, key: str) -> Json:
    """The list, each entry as device, directory, type, options."""
    value = fields.take(key)
    if not isinstance(value, list):
        fields.fail(key, "must be a list of lists")
    if len(value) > MAX_MOUNTS:
        fields.fail(key, f"has more than {MAX_MOUNTS} entries")
    found: list[Json] = []
    for index, item in enumerate(value):
        place = f"{key}[{index}]"
        if not isinstance(item, list) or not 2 <= len(item) <= 6:
            fields.fail(place, "must be a list of device, directory, type and options")
        words = [fields.check_string(place, "" if word is None else word) for word in item]
        found.append(list(_entry(fields, place, words)))
    return found


def _entry(fields: Fields, place: str, words: list[str]) -> tuple[str, str, str, str]:
    device, directory, fstype, options = (*words, "", "")[:4]
    fstype = {"": "auto", "bind": "none"}.get(fstype, fstype)
    options = options or "defaults"
    if fstype in LATER:
        fields.fail(place, f"{LATER[fstype]} not supported yet")
    if fstype == SWAP:
        return _device(fields, place, device), SWAP, SWAP, options
    if fstype not in TYPES:
        fields.fail(place, f"the type must be one of {', '.join(TYPES)}, not {fstype[:40]!r}")
    if re.fullmatch(_DIRECTORY, directory) is None or {".", ".."} & set(directory.split("/")):
        fields.fail(place, f"the directory must be below /mnt, not {directory[:80]!r}")
    if re.fullmatch(_OPTIONS, options) is None:
        fields.fail(place, f"the options must be words with commas, not {options[:80]!r}")
    return _source(fields, place, device, fstype, options), directory, fstype, options


def _source(fields: Fields, place: str, device: str, fstype: str, options: str) -> str:
    """What is mounted, as the type has it."""
    if fstype == "none":
        if not is_bind(options) or not device.startswith("/"):
            fields.fail(place, "type none is for a directory and the option bind")
    elif fstype in NFS:
        if re.fullmatch(SHARE, device) is None:
            fields.fail(place, f"the device must be SERVER:/PATH, not {device[:80]!r}")
    elif fstype != "tmpfs":
        return _device(fields, place, device)
    return device


def _device(fields: Fields, place: str, device: str) -> str:
    if re.fullmatch(_SHORT, device):
        return f"/dev/{device}"
    if re.fullmatch(DEVICE, device) is None or ".." in device:
        fields.fail(place, f"the device must be {DEVICE_FORMS}, not {device[:80]!r}")
    return device


def is_bind(options: str) -> bool:
    """Whether *options* say that a directory is to appear in a second place."""
    return bool({"bind", "rbind"} & set(options.split(",")))
