"""Netlink messages and attributes: the framing that routing and nftables have in common.

Bytes to values and back; sockets are the caller's. Everything is in the byte order of the machine
except where a field says otherwise. Source: Linux 6.12 include/uapi/linux/netlink.h.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR = struct.Struct("=i")
HEADER_BYTES = _HEADER.size
ATTRIBUTE_KIND = 0x3FFF
"""An attribute's type without the bits that say nested (0x8000) and network byte order (0x4000)."""

NESTED = 0x8000
MAX_ATTRIBUTE_BYTES = 0xFFFF - 4


class ControlType(IntEnum):
    """Types below those of any family."""

    NOOP = 1
    ERROR = 2
    DONE = 3
    OVERRUN = 4


class Flag(IntFlag):
    """NLM_F_*. What REPLACE and after mean depends on the request."""

    REQUEST = 0x001
    MULTI = 0x002
    ACK = 0x004
    ECHO = 0x008
    DUMP_INTERRUPTED = 0x010
    CAPPED = 0x100
    """In an answer of type ERROR: the request is not repeated behind the error."""
    ACK_ATTRIBUTES = 0x200
    """In an answer of type ERROR: attributes follow."""
    REPLACE = 0x100
    EXCLUSIVE = 0x200
    CREATE = 0x400
    APPEND = 0x800
    DUMP = 0x300


@dataclass(frozen=True, slots=True)
class Request:
    """What a message asks for, before it has a sequence number."""

    type: int
    flags: Flag
    payload: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came: header fields, and what follows the header."""

    type: int
    flags: int
    sequence: int
    port: int
    payload: bytes


MAX_ERRNO = 4095
"""Of include/linux/err.h: what the kernel answers is not above it."""


class NetlinkError(OSError):
    """The kernel refused: errno, with the kernel's own words where it gave some."""

    def __init__(self, number: int, explanation: str = "") -> None:
        super().__init__(
            number, os.strerror(number) if 0 < number <= MAX_ERRNO else f"error {number}"
        )
        self.explanation = explanation

    def __str__(self) -> str:
        return self.explanation or self.strerror or ""


def pad(length_bytes: int) -> int:
    """*length_bytes* rounded up to the alignment of messages and attributes."""
    return (length_bytes + 3) & ~3


def encode(request: Request, sequence: int) -> bytes:
    """The message for *request*."""
    length = HEADER_BYTES + len(request.payload)
    head = _HEADER.pack(length, request.type, request.flags | Flag.REQUEST, sequence, 0)
    return head + request.payload + bytes(pad(length) - length)


def decode(data: bytes) -> list[Message]:
    """The messages of one datagram.

    Raises:
        InvalidArgument: a length that does not fit; nothing of the datagram counts then.
    """
    messages = []
    offset = 0
    while offset < len(data):
        if len(data) - offset < HEADER_BYTES:
            raise InvalidArgument(f"netlink: {len(data) - offset} bytes are no message")
        length, kind, flags, sequence, port = _HEADER.unpack_from(data, offset)
        if not HEADER_BYTES <= length <= len(data) - offset:
            raise InvalidArgument(f"netlink: a message of {length} bytes in {len(data) - offset}")
        payload = data[offset + HEADER_BYTES : offset + length]
        messages.append(Message(kind, flags, sequence, port, payload))
        offset += pad(length)
    return messages


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded.

    Raises:
        InvalidArgument: *value* is too long for any attribute.
    """
    if len(value) > MAX_ATTRIBUTE_BYTES:
        raise InvalidArgument(f"netlink: {len(value)} bytes do not fit into an attribute")
    length = len(value) + 4
    return _ATTRIBUTE.pack(length, kind) + value + bytes(pad(length) - length)


def nested(kind: int, *inner: bytes) -> bytes:
    """An attribute made of attributes."""
    return attribute(kind | NESTED, b"".join(inner))


def text(kind: int, value: str) -> bytes:
    """A string with its terminating zero."""
    return attribute(kind, value.encode() + b"\0")


def u8(kind: int, value: int) -> bytes:
    return attribute(kind, value.to_bytes(1))


def u16(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=H", value))


def u16_network(kind: int, value: int) -> bytes:
    """Sixteen bits in network byte order."""
    return attribute(kind, value.to_bytes(2, "big"))


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def u32_network(kind: int, value: int) -> bytes:
    """Thirty-two bits in network byte order, as nftables has all its numbers."""
    return attribute(kind, value.to_bytes(4, "big"))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and value of each attribute in *data*, in order; kinds may repeat.

    Raises:
        InvalidArgument: a length that does not fit.
    """
    offset = 0
    while len(data) - offset >= 4:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if not 4 <= length <= len(data) - offset:
            raise InvalidArgument(f"netlink: an attribute of {length} bytes")
        yield kind & ATTRIBUTE_KIND, data[offset + 4 : offset + length]
        offset += pad(length)


def attribute_map(data: bytes) -> dict[int, bytes]:
    """The attributes in *data* by kind; of equal kinds the last counts."""
    return dict(attributes(data))


def read_u32(value: bytes | None, default: int = 0) -> int:
    """The number in an attribute's value; *default* when absent or of another size."""
    return int(struct.unpack("=I", value)[0]) if value is not None and len(value) == 4 else default


def read_text(value: bytes | None) -> str:
    """The string in an attribute's value; empty when absent."""
    return "" if value is None else value.split(b"\0", 1)[0].decode(errors="replace")


_ACK_MESSAGE = 1
"""NLMSGERR_ATTR_MSG."""


def error_of(message: Message) -> NetlinkError | None:
    """What an answer of type ERROR says; None: it was done.

    The kernel's words come as attributes after the request, which is repeated whole unless CAPPED.

    Raises:
        InvalidArgument: it is too short to be one.
    """
    if len(message.payload) < _ERROR.size + HEADER_BYTES:
        raise InvalidArgument("netlink: an error without a request")
    (number,) = _ERROR.unpack_from(message.payload)
    if number == 0:
        return None
    explanation = ""
    if message.flags & Flag.ACK_ATTRIBUTES:
        (length,) = struct.unpack_from("=I", message.payload, _ERROR.size)
        repeated = HEADER_BYTES if message.flags & Flag.CAPPED else max(pad(length), HEADER_BYTES)
        said = attribute_map(message.payload[_ERROR.size + repeated :])
        explanation = read_text(said.get(_ACK_MESSAGE))
    return NetlinkError(-number, explanation)
