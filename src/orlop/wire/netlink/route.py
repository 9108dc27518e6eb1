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

TABLE_MAIN = 254
_TABLE_COMPAT = 252
"""What the header says when the table's number does not fit there."""
_PROTOCOL_BOOT = 3
_SCOPE_UNIVERSE, _SCOPE_LINK = 0, 253
_TYPE_UNICAST = 1
_ON_LINK = 4
KINDS = {"unicast": 1, "blackhole": 6, "unreachable": 7, "prohibit": 8}


class _Attribute(IntEnum):
    DESTINATION = 1
    OUTPUT = 4
    GATEWAY = 5
    PRIORITY = 6
    SOURCE = 7
    METRICS = 8
    TABLE = 15


_METRIC_MTU = 2


@dataclass(frozen=True, slots=True)
class Route:
    """A route, a unicast one of the main table unless it says otherwise.

    *destination* is empty for the default route; *source* is the address that its packets get.
    """

    family: int
    destination: bytes
    prefix_length: int
    output: int
    """Index of the interface, 0 when it has several."""
    gateway: bytes = b""
    table: int = TABLE_MAIN
    protocol: int = _PROTOCOL_BOOT
    metric: int = 0
    kind: int = _TYPE_UNICAST
    source: bytes = b""
    on_link: bool = False
    mtu: int = 0


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
    if not route.gateway and route.family == socket.AF_INET and route.kind == _TYPE_UNICAST:
        scope = _SCOPE_LINK
    payload = _INFO.pack(
        route.family,
        route.prefix_length,
        0,
        0,
        route.table if route.table < 256 else _TABLE_COMPAT,
        route.protocol,
        scope,
        route.kind,
        _ON_LINK if route.on_link else 0,
    )
    if route.destination:
        payload += message.attribute(_Attribute.DESTINATION, route.destination)
    if route.gateway:
        payload += message.attribute(_Attribute.GATEWAY, route.gateway)
    if route.output:
        payload += message.u32(_Attribute.OUTPUT, route.output)
    if route.table >= 256:
        payload += message.u32(_Attribute.TABLE, route.table)
    if route.metric:
        payload += message.u32(_Attribute.PRIORITY, route.metric)
    if route.source:
        payload += message.attribute(_Attribute.SOURCE, route.source)
    if route.mtu:
        payload += message.nested(_Attribute.METRICS, message.u32(_METRIC_MTU, route.mtu))
    return payload


def get_all(family: int) -> Request:
    """Ask for all routes of *family*."""
    return Request(GET, Flag.DUMP, _INFO.pack(family, 0, 0, 0, 0, 0, 0, 0, 0))


def decode(answer: Message) -> Route | None:
    """What RTM_NEWROUTE says; None unless it is a unicast route of the main table.

    Raises:
        InvalidArgument: malformed.
    """
    route = decode_any(answer)
    if route.table != TABLE_MAIN or route.kind != _TYPE_UNICAST:
        return None
    return Route(route.family, route.destination, route.prefix_length, route.output, route.gateway)


def decode_any(answer: Message) -> Route:
    """What RTM_NEWROUTE says, all of it.

    Raises:
        InvalidArgument: malformed.
    """
    if len(answer.payload) < _INFO.size:
        raise InvalidArgument("netlink: a route without a header")
    family, length, _, _, table, protocol, _, kind, flags = _INFO.unpack_from(answer.payload)
    found = message.attribute_map(answer.payload[_INFO.size :])
    metrics = message.attribute_map(found.get(_Attribute.METRICS, b""))
    return Route(
        family,
        found.get(_Attribute.DESTINATION, b""),
        length,
        message.read_u32(found.get(_Attribute.OUTPUT)),
        found.get(_Attribute.GATEWAY, b""),
        table=message.read_u32(found.get(_Attribute.TABLE), table),
        protocol=protocol,
        metric=message.read_u32(found.get(_Attribute.PRIORITY)),
        kind=kind,
        source=found.get(_Attribute.SOURCE, b""),
        on_link=bool(flags & _ON_LINK),
        mtu=message.read_u32(metrics.get(_METRIC_MTU)),
    )
