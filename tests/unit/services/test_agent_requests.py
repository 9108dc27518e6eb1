"""Requests to the agent: what is taken, and what is answered to the rest."""

import json

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.services.agent.jobs import (
    DEFAULT_TIMEOUT_S,
    MAX_TIMEOUT_S,
    Request,
    identifier_of,
    parse_request,
)


def test_whole() -> None:
    line = b'{"id":1,"argv":["sh","-c","cat"],"stdin":"aGk=","timeout_s":30}'
    assert parse_request(line) == Request(1, ["sh", "-c", "cat"], b"hi", 30.0)


def test_least() -> None:
    assert parse_request(b'{"argv":["true"]}') == Request(None, ["true"], b"", DEFAULT_TIMEOUT_S)


def test_time_is_bounded() -> None:
    assert parse_request(b'{"argv":["x"],"timeout_s":1e99}').timeout_s == MAX_TIMEOUT_S


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"{}",
        b'{"argv":[]}',
        b'{"argv":"sh"}',
        b'{"argv":["a",1]}',
        b'{"argv":["a\\u0000b"]}',
        b'{"argv":["a"],"stdin":"*"}',
        b'{"argv":["a"],"stdin":1}',
        b'{"argv":["a"],"timeout_s":0}',
        b'{"argv":["a"],"timeout_s":true}',
        b'{"argv":["a"],"timeout_s":NaN}',
        b"[" * 100_000,
    ],
)
def test_no_request(line: bytes) -> None:
    with pytest.raises(InvalidArgument):
        parse_request(line)


def test_identifier_of_a_bad_request() -> None:
    assert identifier_of(b'{"id":"x","argv":1}') == "x"
    assert identifier_of(b"nonsense") is None
    assert identifier_of(b"[1]") is None


def test_every_truncation_is_refused() -> None:
    line = json.dumps({"id": 1, "argv": ["sh"], "stdin": "aGk="}).encode()
    for end in range(len(line)):
        with pytest.raises(InvalidArgument):
            parse_request(line[:end])
