"""nftables over netlink: elements of sets and maps, and the few objects of a one-rule table.

Not a compiler: the engine's table is written in nft's own language. This is what must be quick,
changing an element of a map, and what would be wasteful to start a program for, the redirection of
a container's name server. Numbers are in network byte order.

Source: Linux 6.12 include/uapi/linux/netfilter/nf_tables.h, nfnetlink.h.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib import netlink_message as message
from orlop.lib.errors import InvalidArgument
from orlop.lib.netlink_message import Flag, Message, Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SUBSYSTEM = 10
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
NEW_TABLE, DELETE_TABLE = 0, 2
_NEW_CHAIN, NEW_RULE, DELETE_RULE = 3, 6, 8
DELETE_SET, _NEW_ELEMENT, DELETE_ELEMENT, NEW_GENERATION = 11, 12, 14, 15

FAMILY_INET = 1
FAMILY_IP = socket.AF_INET

GROUP = 7
"""NFNLGRP_NFTABLES: every change of any ruleset in the namespace."""

INTERFACE_NAME_BYTES = 16


@dataclass(frozen=True, slots=True)
class Element:
    """An element of the set or map *set*. *value* is empty in a set."""

    set: str
    key: bytes
    value: bytes = b""


@dataclass(frozen=True, slots=True)
class Change:
    """What a notification tells: which kind of object of which table."""

    type: int
    """NFT_MSG_*, such as `DELETE_TABLE`."""
    family: int
    table: str
    port: int
    """The netlink port of who asked for it."""


def interface_name(name: str) -> bytes:
    """An interface's name as a key."""
    return name.encode().ljust(INTERFACE_NAME_BYTES, b"\0")


def concatenate(*fields: bytes) -> bytes:
    """A key or value of several fields, each padded to four bytes."""
    return b"".join(field.ljust(message.pad(len(field)), b"\0") for field in fields)


def _type(kind: int) -> int:
    return _SUBSYSTEM << 8 | kind


def _header(family: int, resource: int = 0) -> bytes:
    return struct.pack("=BB", family, 0) + resource.to_bytes(2, "big")


def batch(requests: Iterable[Request], first_sequence: int) -> tuple[bytes, list[int]]:
    """One transaction: the bytes to send, and the sequence numbers that are answered."""
    frame = _header(socket.AF_UNSPEC, _SUBSYSTEM)
    parts = [message.encode(Request(_BATCH_BEGIN, Flag(0), frame), first_sequence)]
    sequences = []
    sequence = first_sequence
    for request in requests:
        sequence += 1
        sequences.append(sequence)
        parts.append(message.encode(request, sequence))
    parts.append(message.encode(Request(_BATCH_END, Flag(0), frame), sequence + 1))
    return b"".join(parts), sequences


def _data(value: bytes) -> bytes:
    return message.attribute(1, value)


def _elements(table: str, elements: Sequence[Element], family: int) -> bytes:
    inner = b"".join(
        message.nested(
            1,
            message.nested(1, _data(element.key)),
            *([message.nested(2, _data(element.value))] if element.value else []),
        )
        for element in elements
    )
    names = message.text(1, table) + message.text(2, elements[0].set)
    return _header(family) + names + message.nested(3, inner)


def add_elements(table: str, elements: Sequence[Element], family: int = FAMILY_INET) -> Request:
    """Put *elements*, all of one set, into it. One that is there as it is to be is no error."""
    flags = Flag.ACK | Flag.CREATE
    return Request(_type(_NEW_ELEMENT), flags, _elements(table, elements, family))


def delete_elements(table: str, elements: Sequence[Element], family: int = FAMILY_INET) -> Request:
    """Take *elements*, all of one set, out of it; refused as a whole if one is not there."""
    return Request(_type(DELETE_ELEMENT), Flag.ACK, _elements(table, elements, family))


def decode_change(answer: Message) -> Change | None:
    """What a notification says; None if it is not of nftables.

    `NEW_GENERATION`, of no family and without a table's name, is the last of a transaction.

    Raises:
        InvalidArgument: malformed.
    """
    if answer.type >> 8 != _SUBSYSTEM:
        return None
    if len(answer.payload) < 4:
        raise InvalidArgument("netlink: nftables without a header")
    # The table's name is the first attribute of every object, also of a table.
    table = message.read_text(message.attribute_map(answer.payload[4:]).get(1))
    return Change(answer.type & 0xFF, answer.payload[0], table, answer.port)


# The redirection of a name server: a table of one chain.

_REGISTER_1, _REGISTER_2 = 1, 2
_HOOK_OUTPUT = 3
_PRIORITY_DSTNAT = -100
_PAYLOAD_NETWORK, _PAYLOAD_TRANSPORT = 1, 2
_META_L4PROTO = 16
_NAT_DESTINATION = 1


def _expression(name: str, *fields: bytes) -> bytes:
    return message.nested(1, message.text(1, name), message.nested(2, *fields))


def _payload(base: int, offset: int, length: int) -> bytes:
    numbers = (_REGISTER_1, base, offset, length)
    fields = [message.u32_network(index, number) for index, number in enumerate(numbers, 1)]
    return _expression("payload", *fields)


def _equals(value: bytes) -> bytes:
    return _expression(
        "cmp",
        message.u32_network(1, _REGISTER_1),
        message.u32_network(2, 0),
        message.nested(3, _data(value)),
    )


def _load(register: int, value: bytes) -> bytes:
    fields = message.u32_network(1, register) + message.nested(2, _data(value))
    return _expression("immediate", fields)


def redirect_port(
    table: str, address: bytes, protocols: Sequence[int], port: int, to_port: int
) -> list[Request]:
    """An IPv4 table in which what is sent to *address* and *port* goes to *to_port* there instead.

    *protocols* are IPPROTO numbers of protocols with ports.
    """
    hook = message.nested(
        4,
        message.u32_network(1, _HOOK_OUTPUT),
        message.u32_network(2, _PRIORITY_DSTNAT & 0xFFFFFFFF),
    )
    chain = message.text(1, table) + message.text(3, "output") + hook + message.text(7, "nat")
    flags = Flag.ACK | Flag.CREATE
    header = _header(FAMILY_IP)
    requests = [
        Request(_type(NEW_TABLE), flags, header + message.text(1, table)),
        Request(_type(_NEW_CHAIN), flags, header + chain),
    ]
    for protocol in protocols:
        expressions = message.nested(
            4,
            _payload(_PAYLOAD_NETWORK, 16, 4),
            _equals(address),
            _expression(
                "meta",
                message.u32_network(2, _META_L4PROTO),
                message.u32_network(1, _REGISTER_1),
            ),
            _equals(protocol.to_bytes(1)),
            _payload(_PAYLOAD_TRANSPORT, 2, 2),
            _equals(port.to_bytes(2, "big")),
            _load(_REGISTER_1, address),
            _load(_REGISTER_2, to_port.to_bytes(2, "big")),
            _expression(
                "nat",
                message.u32_network(1, _NAT_DESTINATION),
                message.u32_network(2, socket.AF_INET),
                message.u32_network(3, _REGISTER_1),
                message.u32_network(5, _REGISTER_2),
            ),
        )
        rule = message.text(1, table) + message.text(2, "output") + expressions
        requests.append(Request(_type(NEW_RULE), flags | Flag.APPEND, header + rule))
    return requests
