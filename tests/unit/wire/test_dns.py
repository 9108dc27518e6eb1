"""DNS messages, and what is none."""

from __future__ import annotations

import random

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire import dns

# `dig +noedns A Web.Example` and `dig AAAA web` (with EDNS), as sent.
PLAIN = bytes.fromhex("abcd01200001000000000000") + b"\x03Web\x07Example\0\0\1\0\1"
EDNS = (
    bytes.fromhex("123401200001000000000001")
    + b"\x03web\0\0\x1c\0\1"
    + bytes.fromhex("0000291000000000000000")
)


def test_queries() -> None:
    plain, edns = dns.decode_query(PLAIN), dns.decode_query(EDNS)

    assert (plain.id, plain.name, plain.type) == (0xABCD, "web.example", dns.Type.A)
    assert plain.question == PLAIN[12:]
    assert (edns.name, edns.type) == ("web", dns.Type.AAAA)
    assert edns.question == b"\x03web\0\0\x1c\0\1"
    assert dns.is_query(plain)
    assert dns.decode_query(dns.encode_query(7, "a.b", dns.Type.PTR)).name == "a.b"


@pytest.mark.parametrize("data", [PLAIN, EDNS])
def test_cut_short(data: bytes) -> None:
    question_end = 12 + len(dns.decode_query(data).question)
    for length in range(question_end):
        with pytest.raises(InvalidArgument):
            dns.decode_query(data[:length])


@pytest.mark.parametrize(
    "data",
    [
        PLAIN[:2] + b"\x81" + PLAIN[3:],  # a response
        PLAIN[:5] + b"\x02" + PLAIN[6:],  # two questions
        PLAIN[:5] + b"\x00" + PLAIN[6:],  # none
        PLAIN[:12] + b"\xc0\x0c\0\1\0\1",  # a pointer to itself
        PLAIN[:12] + b"\x40" + bytes(80),  # a label of 64 bytes
        PLAIN[:12] + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1",  # a name of 256 bytes
    ],
)
def test_hostile(data: bytes) -> None:
    with pytest.raises(InvalidArgument):
        dns.decode_query(data)


def test_the_longest_name() -> None:
    labels = [b"\x3f" + b"a" * 63] * 3 + [b"\x3d" + b"b" * 61]
    query = dns.decode_query(PLAIN[:12] + b"".join(labels) + b"\0\0\1\0\1")

    assert len(query.name) == 253
    assert dns.encode_name(query.name) == b"".join(labels) + b"\0"
    for name in ("a" * 64, "a..b", "ä", query.name + "b"):
        with pytest.raises(InvalidArgument):
            dns.encode_name(name)


def test_names_that_are_not_text_are_nobodys() -> None:
    query = dns.decode_query(PLAIN[:12] + b"\x04\xff.a\0\0\0\1\0\1")

    assert query.name == "??a\0"


def test_nothing_is_a_crash() -> None:
    source = random.Random(1)
    for _ in range(20_000):
        data = bytearray(source.choice((PLAIN, EDNS)))
        for _ in range(source.randrange(1, 6)):
            data[source.randrange(len(data))] = source.randrange(256)
        try:
            query = dns.decode_query(bytes(data[: source.randrange(len(data) + 1)]))
        except InvalidArgument:
            continue
        assert len(query.name) <= 255
        dns.encode_failure(query, dns.Code.NO_SUCH_NAME)
        dns.parse_reverse(query.name)


def test_answers() -> None:
    query = dns.decode_query(PLAIN)
    answer = dns.encode_response(query, [bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])], ttl_s=10)

    assert answer[:12] == bytes.fromhex("abcd85800001000200000000")
    assert answer[12 : 12 + len(query.question)] == query.question
    assert answer.count(bytes.fromhex("c00c000100010000000a0004")) == 2
    empty = dns.encode_response(query, [], ttl_s=10)
    assert empty[6:8] == b"\0\0"
    assert dns.encode_failure(query, dns.Code.SERVER_FAILURE)[3] & 0x0F == 2


def test_what_does_not_fit_is_left_out_and_said() -> None:
    query = dns.decode_query(PLAIN)
    many = [bytes([10, 0, n >> 8, n & 255]) for n in range(100)]
    answer = dns.encode_response(query, many, ttl_s=1)

    assert len(answer) <= 512
    assert answer[2] & 0x02
    assert int.from_bytes(answer[6:8]) == (512 - 12 - len(query.question)) // 16
    assert not dns.encode_response(query, many, ttl_s=1, limit_bytes=65535)[2] & 0x02


def test_only_the_answer_to_the_question_is_one() -> None:
    query = dns.decode_query(PLAIN)
    answer = dns.encode_failure(query, dns.Code.NO_SUCH_NAME)

    assert dns.answers_to(answer, 0xABCD, query.question)
    assert dns.answers_to(answer.lower(), 0xABCD, query.question)
    assert dns.answers_to(dns.with_id(answer, 5), 5, query.question)
    assert not dns.answers_to(answer, 1, query.question)
    assert not dns.answers_to(PLAIN, 0xABCD, query.question)
    assert not dns.answers_to(answer[:20], 0xABCD, query.question)
    other = dns.decode_query(EDNS)
    assert not dns.answers_to(dns.encode_failure(other, dns.Code.NO_ERROR), 0x1234, query.question)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("2.0.17.172.in-addr.arpa", "172.17.0.2"),
        ("1" + ".0" * 31 + ".ip6.arpa", "::1"),
        ("2.0.17.in-addr.arpa", ""),
        ("x.0.17.172.in-addr.arpa", ""),
        ("1.ip6.arpa", ""),
        ("example", ""),
    ],
)
def test_reverse(name: str, address: str) -> None:
    assert dns.parse_reverse(name) == address
