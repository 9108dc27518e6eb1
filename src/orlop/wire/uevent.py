"""Kernel uevents: what the kernel says on its netlink socket when a device comes, goes or changes.

One message is `ACTION@DEVPATH`, a NUL, and NUL-terminated `KEY=VALUE` strings. Messages of udev
(they begin with `libudev`) are not the kernel's and are refused. The same `KEY=VALUE` form, one
per line, is in the `uevent` file of each device under /sys.

Source: Linux 6.12 lib/kobject_uevent.c. A NamedTuple and not a dataclass: the module behind
dataclasses costs a small service more memory than all of its own code.
"""

from collections.abc import Mapping
from typing import NamedTuple

from orlop.lib.errors import InvalidArgument

MAX_MESSAGE_BYTES = 2048 + 512
"""The kernel's own buffer for the strings is UEVENT_BUFFER_SIZE (2048); the path comes before
it."""

MULTICAST_GROUP = 1
"""Of NETLINK_KOBJECT_UEVENT, where the kernel speaks."""


class Uevent(NamedTuple):
    """One event. *devpath* is relative to /sys and begins with a slash."""

    action: str
    devpath: str
    properties: Mapping[str, str]

    @property
    def subsystem(self) -> str:
        return self.properties.get("SUBSYSTEM", "")

    @property
    def modalias(self) -> str:
        return self.properties.get("MODALIAS", "")

    @property
    def devname(self) -> str:
        """The node's path below /dev, or nothing where the device has no (well-formed) one."""
        name = self.properties.get("DEVNAME", "").removeprefix("/dev/")
        return name if is_clean_name(name) else ""


def is_clean_name(name: str) -> bool:
    """Whether *name* can be put after a directory without leaving it."""
    return bool(name) and len(name) < 256 and not {"", ".", ".."} & set(name.split("/"))


def parse_uevent(message: bytes) -> Uevent:
    """Take one datagram apart. Bytes that are not UTF-8 come back as lone surrogates.

    Raises:
        InvalidArgument: not an event of the kernel's.
    """
    if len(message) > MAX_MESSAGE_BYTES:
        raise InvalidArgument(f"a uevent of {len(message)} bytes is too long")
    head, _, rest = message.partition(b"\0")
    action, at, devpath = head.decode(errors="surrogateescape").partition("@")
    if not at or not action.isalpha() or not devpath.startswith("/") or "/../" in devpath + "/":
        raise InvalidArgument(f"not a uevent: {head[:80]!r}")
    return Uevent(action, devpath, parse_properties(rest, b"\0"))


def parse_properties(data: bytes, separator: bytes = b"\n") -> dict[str, str]:
    """`KEY=VALUE` strings that end in *separator*; what has no `=` is skipped, the last one
    wins."""
    found: dict[str, str] = {}
    for line in data.decode(errors="surrogateescape").split(separator.decode()):
        key, equals, value = line.partition("=")
        if equals and key:
            found[key] = value
    return found
