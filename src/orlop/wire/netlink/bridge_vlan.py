"""VLANs of a bridge's ports: what the kernel has, and requests to change it.

Source: Linux 6.12 include/uapi/linux/if_bridge.h, net/bridge/br_netlink.c.
"""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING

from orlop.lib import netlink_message as message
from orlop.lib.errors import InvalidArgument
from orlop.lib.netlink_message import Flag, Message, Request
from orlop.wire.netlink import link

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    type Vlans = Mapping[int, int]
    """Flags by the VLAN's number."""

PVID, UNTAGGED = 2, 4
"""What comes in without a tag is of this VLAN; what goes out of this VLAN has no tag."""

_RANGE_BEGIN, _RANGE_END = 8, 16
_KEPT = PVID | UNTAGGED

_FAMILY = 7
_SET = 19
"""RTM_SETLINK: of this family there is no RTM_NEWLINK."""
_AF_SPEC, _EXT_MASK = 26, 29
_FILTER_COMPRESSED = 4
_FLAGS, _INFO = 0, 2
_SELF = 2
_ENTRY = struct.Struct("=HH")
_HEADER_BYTES = 16


def get_all() -> Request:
    """Ask for all ports of bridges, and bridges as ports of themselves, with their VLANs."""
    mask = message.u32(_EXT_MASK, _FILTER_COMPRESSED)
    return Request(link.GET, Flag.DUMP, link.header(family=_FAMILY) + mask)


def decode(answer: Message) -> tuple[int, dict[int, int]]:
    """The number of a port, and its VLANs.

    Raises:
        InvalidArgument: malformed.
    """
    index = link.decode(answer).index
    found: dict[int, int] = {}
    begin = 0
    top = message.attribute_map(answer.payload[_HEADER_BYTES:])
    for kind, value in message.attributes(top.get(_AF_SPEC, b"")):
        if kind != _INFO:
            continue
        if len(value) != _ENTRY.size:
            raise InvalidArgument("netlink: a VLAN of another size")
        flags, number = _ENTRY.unpack(value)
        if flags & _RANGE_BEGIN:
            begin = number
            continue
        first = begin if flags & _RANGE_END else number
        found |= dict.fromkeys(range(first, number + 1), flags & _KEPT)
    return index, found


def add(index: int, vlans: Vlans, *, own: bool) -> Request:
    """Give port *index* these, or others of their flags; *own*: the port is the bridge itself."""
    return Request(_SET, Flag.ACK, _payload(index, vlans, own=own))


def delete(index: int, vlans: Iterable[int], *, own: bool) -> Request:
    """Take these from port *index*."""
    return Request(link.DELETE, Flag.ACK, _payload(index, dict.fromkeys(vlans, 0), own=own))


def _payload(index: int, vlans: Vlans, *, own: bool) -> bytes:
    inner = [message.u16(_FLAGS, _SELF)] if own else []
    inner += [message.attribute(_INFO, _ENTRY.pack(*entry)) for entry in _entries(vlans)]
    return link.header(index=index, family=_FAMILY) + message.nested(_AF_SPEC, *inner)


def _entries(vlans: Vlans) -> Iterator[tuple[int, int]]:
    """Ranges where there are any: all VLANs one by one would not fit into a message."""

    def key(pair: tuple[int, tuple[int, int]]) -> tuple[int, int]:
        position, (number, flags) = pair
        # The kernel takes no range of what only one can be.
        return (flags, -number if flags & PVID else number - position)

    for _, group in itertools.groupby(enumerate(sorted(vlans.items())), key):
        entries = [entry for _, entry in group]
        (first, flags), (last, _) = entries[0], entries[-1]
        if first == last:
            yield flags, first
        else:
            yield flags | _RANGE_BEGIN, first
            yield flags | _RANGE_END, last
