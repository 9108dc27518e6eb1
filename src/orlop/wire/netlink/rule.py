"""Rules of policy routing. Source: Linux 6.12 include/uapi/linux/fib_rules.h."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from orlop.lib import netlink_message as message
from orlop.lib.errors import InvalidArgument
from orlop.lib.netlink_message import Flag, Message, Request

_INFO = struct.Struct("=BBBBBBBBI")
NEW, DELETE, GET = 32, 33, 34
"""RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE."""

_TO_TABLE = 1
KINDS = {"lookup": _TO_TABLE, "blackhole": 6, "unreachable": 7, "prohibit": 8}


class _Attribute(IntEnum):
    DESTINATION = 1
    SOURCE = 2
    INPUT = 3
    PRIORITY = 6
    MARK = 10
    TABLE = 15
    MARK_MASK = 16
    OUTPUT = 17
    PROTOCOL = 21


@dataclass(frozen=True, slots=True)
class Rule:
    """Packets that fit are looked up in *table*. Empty addresses and names fit all."""

    family: int
    table: int = 0
    priority: int = 0
    source: bytes = b""
    source_length: int = 0
    destination: bytes = b""
    destination_length: int = 0
    input: str = ""
    output: str = ""
    mark: int = 0
    mark_mask: int = 0
    kind: int = _TO_TABLE
    protocol: int = 0


def new(wanted: Rule) -> Request:
    return Request(NEW, Flag.ACK | Flag.CREATE | Flag.EXCLUSIVE, _payload(wanted))


def delete(unwanted: Rule) -> Request:
    return Request(DELETE, Flag.ACK, _payload(unwanted))


def _payload(rule: Rule) -> bytes:
    payload = _INFO.pack(
        *(rule.family, rule.destination_length, rule.source_length),
        *(0, rule.table if rule.table < 256 else 0, 0, 0, rule.kind, 0),
    )
    payload += message.u32(_Attribute.PRIORITY, rule.priority)
    if rule.table:
        payload += message.u32(_Attribute.TABLE, rule.table)
    if rule.source:
        payload += message.attribute(_Attribute.SOURCE, rule.source)
    if rule.destination:
        payload += message.attribute(_Attribute.DESTINATION, rule.destination)
    if rule.input:
        payload += message.text(_Attribute.INPUT, rule.input)
    if rule.output:
        payload += message.text(_Attribute.OUTPUT, rule.output)
    if rule.mark:
        payload += message.u32(_Attribute.MARK, rule.mark)
        payload += message.u32(_Attribute.MARK_MASK, rule.mark_mask)
    return payload + message.u8(_Attribute.PROTOCOL, rule.protocol)


def get_all(family: int) -> Request:
    """Ask for all rules of *family*."""
    return Request(GET, Flag.DUMP, _INFO.pack(family, 0, 0, 0, 0, 0, 0, 0, 0))


def decode(answer: Message) -> Rule:
    """What RTM_NEWRULE says.

    Raises:
        InvalidArgument: malformed.
    """
    if len(answer.payload) < _INFO.size:
        raise InvalidArgument("netlink: a rule without a header")
    family, to_length, from_length, _, table, _, _, kind, _ = _INFO.unpack_from(answer.payload)
    found = message.attribute_map(answer.payload[_INFO.size :])
    return Rule(
        family,
        table=message.read_u32(found.get(_Attribute.TABLE), table),
        priority=message.read_u32(found.get(_Attribute.PRIORITY)),
        source=found.get(_Attribute.SOURCE, b""),
        source_length=from_length,
        destination=found.get(_Attribute.DESTINATION, b""),
        destination_length=to_length,
        input=message.read_text(found.get(_Attribute.INPUT)),
        output=message.read_text(found.get(_Attribute.OUTPUT)),
        mark=message.read_u32(found.get(_Attribute.MARK)),
        mark_mask=message.read_u32(found.get(_Attribute.MARK_MASK)),
        kind=kind,
        protocol=int.from_bytes(found.get(_Attribute.PROTOCOL, b"")[:1]),
    )
