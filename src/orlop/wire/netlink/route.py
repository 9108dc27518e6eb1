"""Routes. Source: Linux 6.12 include/uapi/linux/rtnetlink.h."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from enum import IntEnum

from orlop.lib import netlink_message as message
from orlop.lib.errors import InvalidArgument
from orlop.lib.netlink_message import Flag, Message, Request
from orlop.wire.netlink.address import family_of

_INFO = struct.Struct("=BBBBBBBBI")
NEW, DELETE, GET = 24, 25, 26
"""RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE."""

_TABLE_MAIN = 254
_PROTOCOL_BOOT = 3
_SCOPE_UNIVERSE, _SCOPE_LINK = 0, 253
_TYPE_UNICAST = 1


class _Attribute(IntEnum):
    DESTINATION = 1
    OUTPUT = 4
    GATEWAY = 5


@dataclass(frozen=True, slots=True)
class Route:
    """A unicast route of the main table. *destination* is empty for the default route."""

    family: int
    destination: bytes
    prefix_length: int
    output: int
    """Index of the interface, 0 when it has several."""
    gateway: bytes = b""


def default(family: int, *, gateway: bytes = b"", output: int = 0) -> Route:
    """The default route through *gateway*, or straight out of interface *output*."""
    return Route(family, b"", 0, output, gateway)


def new(wanted: Route) -> Request:
    """Make the route, in the place of an equal one."""
    return Request(NEW, Flag.ACK | Flag.CREATE | Flag.REPLACE, _payload(wanted))


def delete(unwanted: Route) -> Request:
    return Request(DELETE, Flag.ACK, _payload(unwanted))


def _payload(route: Route) -> bytes:
    if route.gateway and family_of(route.gateway) != route.family:
        raise InvalidArgument("a gateway of another family than its route")
    scope = _SCOPE_UNIVERSE
    if not route.gateway and route.family == socket.AF_INET:
        scope = _SCOPE_LINK
    payload = _INFO.pack(
        route.family,
        route.prefix_length,
        0,
        0,
        _TABLE_MAIN,
        _PROTOCOL_BOOT,
        scope,
        _TYPE_UNICAST,
        0,
    )
    if route.destination:
        payload += message.attribute(_Attribute.DESTINATION, route.destination)
    if route.gateway:
        payload += message.attribute(_Attribute.GATEWAY, route.gateway)
    if route.output:
        payload += message.u32(_Attribute.OUTPUT, route.output)
    return payload


def get_all(family: int) -> Request:
    """Ask for all routes of *family*."""
    return Request(GET, Flag.DUMP, _INFO.pack(family, 0, 0, 0, 0, 0, 0, 0, 0))


def decode(answer: Message) -> Route | None:
    """What RTM_NEWROUTE says; None unless it is a unicast route of the main table.

    Raises:
        InvalidArgument: malformed.
    """
    if len(answer.payload) < _INFO.size:
        raise InvalidArgument("netlink: a route without a header")
    values = _INFO.unpack_from(answer.payload)
    family, length, table, kind = values[0], values[1], values[4], values[7]
    if table != _TABLE_MAIN or kind != _TYPE_UNICAST:
        return None
    found = message.attribute_map(answer.payload[_INFO.size :])
    return Route(
        family,
        found.get(_Attribute.DESTINATION, b""),
        length,
        message.read_u32(found.get(_Attribute.OUTPUT)),
        found.get(_Attribute.GATEWAY, b""),
    )
