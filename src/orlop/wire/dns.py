"""DNS messages, as much as a name server needs that knows some names and passes on the rest.

A query is read as far as its one question; answers are written. Messages that are passed on are not
looked into beyond that. Whatever comes may be hostile: a name is read once, forwards, within 255
bytes, and compression, which no question needs, is refused.

Source: RFC 1035 sections 4.1 and 4.2.2, RFC 2308 section 2.2, RFC 6891.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address

from orlop.lib.errors import InvalidArgument

_HEADER = struct.Struct(">HHHHHH")
HEADER_BYTES = _HEADER.size
MAX_LABEL_BYTES = 63
MAX_NAME_BYTES = 255
MAX_UDP_BYTES = 512
"""Of an answer to somebody who does not say that he takes more."""

_RESPONSE, _AUTHORITATIVE, _TRUNCATED = 0x8000, 0x0400, 0x0200
_RECURSION_DESIRED, _RECURSION_AVAILABLE = 0x0100, 0x0080
_OPCODE = 0x7800
CLASS_IN = 1
_POINTER_TO_QUESTION = 0xC000 | HEADER_BYTES


class Type(IntEnum):
    """Of records, those that are told apart here."""

    A = 1
    PTR = 12
    AAAA = 28


class Code(IntEnum):
    """Of responses."""

    NO_ERROR = 0
    FORMAT_ERROR = 1
    SERVER_FAILURE = 2
    NO_SUCH_NAME = 3
    NOT_IMPLEMENTED = 4


@dataclass(frozen=True, slots=True)
class Query:
    """A question. *name* is in lower case, without the last dot; bytes that are not ASCII are `?`,
    which is in no name of ours."""

    id: int
    flags: int
    name: str
    type: int
    class_: int
    question: bytes
    """As it came, for the answer."""


def decode_query(data: bytes) -> Query:
    """The question in *data*.

    Raises:
        InvalidArgument: no query, or not with exactly one question.
    """
    if len(data) < HEADER_BYTES:
        raise InvalidArgument("dns: shorter than a header")
    id_, flags, questions, _answers, _authorities, _additional = _HEADER.unpack_from(data)
    if flags & _RESPONSE:
        raise InvalidArgument("dns: a response where a query was expected")
    if questions != 1:
        raise InvalidArgument(f"dns: {questions} questions")
    name, offset = _decode_name(data, HEADER_BYTES)
    if len(data) - offset < 4:
        raise InvalidArgument("dns: a question without type and class")
    kind, class_ = struct.unpack_from(">HH", data, offset)
    return Query(id_, flags, name, kind, class_, data[HEADER_BYTES : offset + 4])


def _decode_name(data: bytes, offset: int) -> tuple[str, int]:
    start = offset
    labels: list[str] = []
    while True:
        if offset >= len(data):
            raise InvalidArgument("dns: a name without an end")
        length = data[offset]
        offset += 1
        if length == 0:
            return ".".join(labels), offset
        if length > MAX_LABEL_BYTES:
            raise InvalidArgument("dns: a compressed name in a question")
        if offset + length > len(data) or offset + length - start >= MAX_NAME_BYTES:
            raise InvalidArgument("dns: a name that is too long")
        label = data[offset : offset + length].decode("ascii", errors="replace")
        labels.append(label.replace("\ufffd", "?").replace(".", "?").lower())
        offset += length


def encode_name(name: str) -> bytes:
    """A name without compression.

    Raises:
        InvalidArgument: it cannot be one.
    """
    encoded = b""
    for label in name.rstrip(".").split(".") if name.rstrip(".") else ():
        try:
            data = label.encode("ascii")
        except UnicodeEncodeError:
            raise InvalidArgument(f"dns: not ASCII: {name[:80]!r}") from None
        if not 0 < len(data) <= MAX_LABEL_BYTES:
            raise InvalidArgument(f"dns: a label of {len(data)} bytes in {name[:80]!r}")
        encoded += bytes([len(data)]) + data
    if len(encoded) >= MAX_NAME_BYTES:
        raise InvalidArgument(f"dns: a name of {len(encoded)} bytes")
    return encoded + b"\0"


def encode_query(id_: int, name: str, kind: int) -> bytes:
    """A query for somebody who resolves recursively."""
    head = _HEADER.pack(id_, _RECURSION_DESIRED, 1, 0, 0, 0)
    return head + encode_name(name) + struct.pack(">HH", kind, CLASS_IN)


def encode_response(
    query: Query, answers: list[bytes], *, ttl_s: int, limit_bytes: int = MAX_UDP_BYTES
) -> bytes:
    """The answer that *query* has the records *answers*, data of its own type each.

    What is beyond *limit_bytes* is left out, and the answer marked as truncated.
    """
    records = b""
    count = 0
    truncated = 0
    for data in answers:
        record = (
            struct.pack(">HHHIH", _POINTER_TO_QUESTION, query.type, CLASS_IN, ttl_s, len(data))
            + data
        )
        if HEADER_BYTES + len(query.question) + len(records) + len(record) > limit_bytes:
            truncated = _TRUNCATED
            break
        records += record
        count += 1
    flags = _answer_flags(query) | _AUTHORITATIVE | truncated
    return _HEADER.pack(query.id, flags, 1, count, 0, 0) + query.question + records


def encode_failure(query: Query, code: Code) -> bytes:
    """An answer that is none."""
    return _HEADER.pack(query.id, _answer_flags(query) | code, 1, 0, 0, 0) + query.question


def _answer_flags(query: Query) -> int:
    kept = query.flags & (_OPCODE | _RECURSION_DESIRED)
    return _RESPONSE | _RECURSION_AVAILABLE | kept


def with_id(data: bytes, id_: int) -> bytes:
    """The same message under another number."""
    return id_.to_bytes(2, "big") + data[2:]


def answers_to(data: bytes, id_: int, question: bytes) -> bool:
    """Whether *data* is a response to *question*, asked under the number *id_*."""
    if len(data) < HEADER_BYTES + len(question):
        return False
    found, flags, questions, *_ = _HEADER.unpack_from(data)
    if found != id_ or not flags & _RESPONSE or questions != 1:
        return False
    # Case is kept by every server worth asking, and not by some others.
    return data[HEADER_BYTES : HEADER_BYTES + len(question)].lower() == question.lower()


def is_query(query: Query) -> bool:
    """Whether it is a plain question about a name, not an update or a notification."""
    return not query.flags & _OPCODE and query.class_ == CLASS_IN


def parse_reverse(name: str) -> str:
    """The address that `2.0.17.172.in-addr.arpa` or `….ip6.arpa` stands for; empty: none."""
    try:
        if name.endswith(".in-addr.arpa"):
            labels = name.removesuffix(".in-addr.arpa").split(".")
            return str(IPv4Address(".".join(reversed(labels))))
        if name.endswith(".ip6.arpa"):
            digits = name.removesuffix(".ip6.arpa").split(".")
            if len(digits) == 32 and all(len(digit) == 1 for digit in digits):
                return str(IPv6Address(int("".join(reversed(digits)), 16)))
    except ValueError:
        pass
    return ""
