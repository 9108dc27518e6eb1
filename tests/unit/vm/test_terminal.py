"""The keys of the console: Ctrl-] and what follows it."""

import pytest

from orlop.vm.terminal import Action, EscapeFilter


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (b"ls\r\x03", [b"ls\r\x03"]),
        (b"a\x1ddb", [b"a", Action.DETACH, b"b"]),
        (b"\x1dQ", [Action.QUIT]),
        (b"\x1d\x04", [Action.DETACH]),
        (b"\x1d\x1d", [b"\x1d"]),
        (b"\x1dz", [Action.HELP]),
        (b"\x1d?\x1dr\x1dp", [Action.HELP, Action.RESET, Action.POWER]),
        ("ü".encode(), ["ü".encode()]),
    ],
)
def test_keys(typed: bytes, expected: list[bytes | Action]) -> None:
    assert EscapeFilter().feed(typed) == expected


def test_an_escape_may_arrive_alone() -> None:
    keys = EscapeFilter()
    assert keys.feed(b"a\x1d") == [b"a"]
    assert keys.feed(b"d") == [Action.DETACH]
