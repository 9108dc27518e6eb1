"""Where messages are forwarded to, and how they are framed."""

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.services.syslog.forward import MAX_DATAGRAM_BYTES, Remote, frame, parse_remote


@pytest.mark.parametrize(
    ("url", "remote"),
    [
        ("udp://logs.example:1514", Remote("udp", "logs.example", 1514)),
        ("tcp://192.0.2.1:6514", Remote("tcp", "192.0.2.1", 6514)),
        ("udp://logs.example", Remote("udp", "logs.example", 514)),
        ("tcp://logs.example/", Remote("tcp", "logs.example", 601)),
        ("tcp://[2001:db8::1]:601", Remote("tcp", "2001:db8::1", 601)),
        ("udp://[2001:db8::1]", Remote("udp", "2001:db8::1", 514)),
    ],
)
def test_remote(url: str, remote: Remote) -> None:
    assert parse_remote(url) == remote


@pytest.mark.parametrize(
    "url",
    [
        "",
        "logs.example",
        "http://x",
        "udp://",
        "udp://x:0",
        "udp://x:65536",
        "tcp://x:y",
        "tcp://x:1:2",
    ],
)
def test_no_remote(url: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_remote(url)


def test_octet_counting() -> None:
    message = "<13>1 - - - - - - grün".encode()
    assert frame(Remote("tcp", "x", 1), message) == b"23 " + message
    assert len(message) == 23


def test_datagrams_are_bounded() -> None:
    assert len(frame(Remote("udp", "x", 1), b"x" * 100_000)) == MAX_DATAGRAM_BYTES
