"""A query is decoded or refused as invalid, and what was decoded can be answered."""

from __future__ import annotations

from orlop.lib.errors import InvalidArgument
from orlop.wire import dns

SEEDS = (
    dns.encode_query(7, "database", 1),
    dns.encode_query(0xFFFF, "a.b.example.org", 28),
    dns.encode_query(1, "4.3.2.1.in-addr.arpa", 12),
)
TOKENS = (b"\0", b"\xc0\x0c", b"\x3f", b"\x01a", b"\0\x01\0\x01")


def check(data: bytes) -> None:
    try:
        query = dns.decode_query(data)
    except InvalidArgument:
        return
    assert len(query.name) < 256
    dns.is_query(query)
    dns.parse_reverse(query.name)
    failure = dns.encode_failure(query, dns.Code.NO_SUCH_NAME)
    assert failure[:2] == data[:2]
    assert query.question in failure
