"""The keys are found the same however the input is divided, and nothing else is lost."""

from __future__ import annotations

from orlop.lib.errors import InvalidArgument
from orlop.wire.detach_keys import DEFAULT, DetachScanner, parse

SEEDS = (b"ls\r\x10\x11rest", b"\x10\x10\x11", b"ctrl-p,ctrl-q", b"a,b,ctrl-[", b"\x10\x11\x10\x11")
TOKENS = (b"\x10", b"\x11", b"ctrl-", b",", b"@")


def _scan(data: bytes, step: int) -> tuple[bytes, bool]:
    scanner, passed = DetachScanner(DEFAULT), b""
    for at in range(0, len(data), step):
        piece, found = scanner.feed(data[at : at + step])
        passed += piece
        if found:
            return passed, True
    return passed, False


def check(data: bytes) -> None:
    assert _scan(data, 1) == _scan(data, len(data) or 1)
    passed, found = _scan(data, 1)
    if found:
        assert data.startswith(passed + DEFAULT)
    else:
        assert data.startswith(passed)
        assert len(data) - len(passed) < len(DEFAULT)
    try:
        assert len(parse(data.decode("latin-1"))) >= 1
    except InvalidArgument:
        return
