"""Addresses of interfaces. Source: Linux 6.12 include/uapi/linux/if_addr.h, rtnetlink.h."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from enum import IntEnum

from orlop.lib import netlink_message as message
from orlop.lib.errors import InvalidArgument
from orlop.lib.netlink_message import Flag, Message, Request

_INFO = struct.Struct("=BBBBI")
NEW, DELETE, GET = 20, 21, 22
"""RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR."""

_PERMANENT = 0x80
"""IFA_F_PERMANENT: it does not run out."""
_NO_DAD = 0x02
"""IFA_F_NODAD: addresses are given out once; a second's wait for a duplicate is for nothing."""


class _Attribute(IntEnum):
    ADDRESS = 1
    LOCAL = 2
    BROADCAST = 4
    FLAGS = 8
    PROTOCOL = 11


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """An address of interface *index*; *address* is 4 or 16 bytes."""

    index: int
    address: bytes
    prefix_length: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Who set an address. *protocol* is the number its maker gave it, *scope* one of RT_SCOPE_*."""

    protocol: int
    permanent: bool
    scope: int


def family_of(address: bytes) -> int:
    """AF_INET or AF_INET6, by length.

    Raises:
        InvalidArgument: neither.
    """
    match len(address):
        case 4:
            return socket.AF_INET
        case 16:
            return socket.AF_INET6
    raise InvalidArgument(f"an address of {len(address)} bytes")


def new(wanted: InterfaceAddress, *, protocol: int = 0, check: bool = False) -> Request:
    """Give the address; one that is there already is left as it is.

    *check*: whether an IPv6 address is first asked for, whether somebody else has it.
    """
    payload = _payload(wanted, check=check)
    if protocol:
        payload += message.u8(_Attribute.PROTOCOL, protocol)
    return Request(NEW, Flag.ACK | Flag.CREATE | Flag.REPLACE, payload)


def delete(unwanted: InterfaceAddress) -> Request:
    """Take the address away."""
    return Request(DELETE, Flag.ACK, _payload(unwanted))


def _payload(wanted: InterfaceAddress, *, check: bool = False) -> bytes:
    family = family_of(wanted.address)
    flags = _NO_DAD if family == socket.AF_INET6 and not check else 0
    payload = _INFO.pack(family, wanted.prefix_length, flags, 0, wanted.index)
    payload += message.attribute(_Attribute.LOCAL, wanted.address)
    payload += message.attribute(_Attribute.ADDRESS, wanted.address)
    if family == socket.AF_INET and wanted.prefix_length < 31:
        hosts = (1 << (32 - wanted.prefix_length)) - 1
        broadcast = (int.from_bytes(wanted.address) | hosts).to_bytes(4)
        payload += message.attribute(_Attribute.BROADCAST, broadcast)
    return payload


def get_all() -> Request:
    """Ask for all addresses of both families."""
    return Request(GET, Flag.DUMP, _INFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0))


def decode(answer: Message) -> InterfaceAddress | None:
    """What RTM_NEWADDR says; None for a family that is not IP.

    Raises:
        InvalidArgument: malformed.
    """
    if len(answer.payload) < _INFO.size:
        raise InvalidArgument("netlink: an address without a header")
    family, prefix_length, _flags, _scope, index = _INFO.unpack_from(answer.payload)
    found = message.attribute_map(answer.payload[_INFO.size :])
    address = found.get(_Attribute.LOCAL) or found.get(_Attribute.ADDRESS) or b""
    if family not in (socket.AF_INET, socket.AF_INET6) or len(address) not in (4, 16):
        return None
    return InterfaceAddress(index, address, prefix_length)


def origin(answer: Message) -> Origin:
    """Who set the address that *answer* tells of, which `decode` has found well-formed."""
    _family, _length, flags, scope, _index = _INFO.unpack_from(answer.payload)
    found = message.attribute_map(answer.payload[_INFO.size :])
    flags = message.read_u32(found.get(_Attribute.FLAGS), flags)
    protocol = int.from_bytes(found.get(_Attribute.PROTOCOL, b"")[:1])
    return Origin(protocol, bool(flags & _PERMANENT), scope)
