"""What the values of the keys for storage may be: see `kinds`. Pure; input may be hostile."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.lib.units import parse_size_bytes
from orlop.wire.config.kinds import Kind
from orlop.wire.config.mounts import DEVICE, DEVICE_FORMS

if TYPE_CHECKING:
    from orlop.wire.compose_model import Json
    from orlop.wire.compose_values import Fields

MAX_PATHS = 64
MAX_DEVICES = 16

_DIRECTORY = r"(/[^\s/:]{1,100}){1,8}"
_IMAGES_OWN = ("/bin", "/dev", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/tmp", "/usr")
_KEPT_ALREADY = ("/home", "/mnt", "/root", "/var")
_ON = frozenset({"on", "auto", "growpart", "gpart", "noblock"})
_OFF = frozenset({"off"})


def _grow(fields: Fields, key: str) -> Json:
    """A choice of yes and no, also in the words of cloud-init, and the disk as RancherOS has it."""
    value = fields.take(key)
    if isinstance(value, bool):
        return value
    text = fields.check_string(key, value)
    if text.lower() in _ON or re.fullmatch(r"/dev/[a-z0-9/]{1,60}", text):
        return True
    if text.lower() not in _OFF:
        fields.fail(key, f"must be true or false, not {text[:40]!r}")
    return False


def _zram(fields: Fields, key: str) -> Json:
    """A share of the memory, or bytes."""
    value = fields.take(key)
    match = re.fullmatch(r"([0-9]{1,3})%", value) if isinstance(value, str) else None
    if match is not None:
        if not 1 <= int(match[1]) <= 200:
            fields.fail(key, f"must be from 1% to 200%, not {value}")
        return f"{int(match[1])}%"
    try:
        size_bytes = parse_size_bytes(fields.check_string(key, value))
    except InvalidArgument:
        size_bytes = -1
    if size_bytes != 0 and not 1 << 20 <= size_bytes <= 1 << 40:
        fields.fail(key, "must be a share of the memory such as 50%, a size such as 512m, or 0")
    return size_bytes


def _devices(fields: Fields, key: str) -> Json:
    found: list[Json] = []
    for index, text in enumerate(fields.strings(key)):
        if re.fullmatch(DEVICE, text) is None or ".." in text:
            fields.fail(f"{key}[{index}]", f"must be {DEVICE_FORMS}, not {text[:80]!r}")
        if text not in found:
            found.append(text)
    if len(found) > MAX_DEVICES:
        fields.fail(key, f"has more than {MAX_DEVICES} devices")
    return found


def _paths(fields: Fields, key: str) -> Json:
    found: list[Json] = []
    for index, text in enumerate(fields.strings(key)):
        place, path = f"{key}[{index}]", text.rstrip("/")
        if re.fullmatch(_DIRECTORY, path) is None or {".", ".."} & set(path.split("/")):
            fields.fail(place, f"must be a directory such as /opt, not {text[:80]!r}")
        if path == "/etc" or _is_below(path, _IMAGES_OWN):
            fields.fail(place, f"{path} is the image's own, or made anew at each boot")
        if path not in found and not _is_below(path, _KEPT_ALREADY):
            found.append(path)
    if len(found) > MAX_PATHS:
        fields.fail(key, f"has more than {MAX_PATHS} directories")
    return found


def _is_below(path: str, tops: tuple[str, ...]) -> bool:
    return any(path == top or path.startswith(f"{top}/") for top in tops)


GROW = Kind("true, false", {"type": ["boolean", "string"]}, _grow)
ZRAM = Kind("share or size", {"type": ["integer", "string"]}, _zram)
DEVICES = Kind(
    "list of LABEL=, UUID=, SERIAL=, /dev/",
    {"type": ["array", "string"], "items": {"type": "string"}},
    _devices,
)
PATHS = Kind(
    "list of directories", {"type": ["array", "string"], "items": {"type": "string"}}, _paths
)
