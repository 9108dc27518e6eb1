"""The sequence that detaches a terminal."""

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.detach_keys import DEFAULT, DetachScanner, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", DEFAULT),
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("a,ctrl-[", b"a\x1b"),
        ("ctrl-@,ctrl-_", b"\x00\x1f"),
    ],
)
def test_sequences(text: str, expected: bytes) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "ab", "é", ",", ",".join("a" * 20)])
def test_bad_sequences(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse(text)


@pytest.mark.parametrize(
    ("data", "passed", "found"),
    [
        (b"hello", b"hello", False),
        (b"ab\x10\x11cd", b"ab", True),
        (b"\x10x", b"\x10x", False),
        (b"\x10\x10\x11", b"\x10", True),
        (b"\x11\x10", b"\x11", False),
    ],
)
def test_scanner_whole_and_byte_by_byte(data: bytes, passed: bytes, found: bool) -> None:
    assert DetachScanner(DEFAULT).feed(data) == (passed, found)
    scanner = DetachScanner(DEFAULT)
    collected, detached = b"", False
    for index in range(len(data)):
        piece, detached = scanner.feed(data[index : index + 1])
        collected += piece
        if detached:
            break
    assert (collected, detached) == (passed, found)
