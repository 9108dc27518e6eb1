"""Small formats."""

import pytest

from orlop.cli import log_lines, text
from orlop.cli.json_text import decode


@pytest.mark.parametrize(
    ("duration_s", "expected"),
    [(0, "0 seconds"), (1, "1 second"), (119, "119 seconds"), (120, "2 minutes"), (1e6, "11 days")],
)
def test_durations(duration_s: float, expected: str) -> None:
    assert text.duration(duration_s) == expected


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("2026-01-06T00:00:00Z", 1767657600.0),
        ("2026-01-06T00:00:00.123456789Z", 1767657600.123456),
        ("2026-01-06T01:00:00+01:00", 1767657600.0),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        ("yesterday", None),
    ],
)
def test_times(stamp: str, expected: float | None) -> None:
    assert text.parse_time(stamp) == (pytest.approx(expected) if expected else None)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            '<27>1 2026-11-23T10:42:58Z orlop dhcpcd 1 - [orlop@32473 container="network"] no, [x]',
            "2026-11-23T10:42:58Z network/dhcpcd error: no, [x]",
        ),
        (
            '<30>1 2026-11-23T10:42:58Z orlop time 1 - [orlop@32473 container="time"] \ufeffset',
            "2026-11-23T10:42:58Z time: set",
        ),
        ("<6>1 2026-11-23T10:42:58Z orlop kernel - - - a  b", "2026-11-23T10:42:58Z kernel: a  b"),
        (
            '<30>1 T h app 1 - [a x="] \\" [b"][orlop@32473 container="web"] said',
            "T web/app: said",
        ),
        ("something else \x1b[2J", "something else ?[2J"),
        ("<30>1 T h app", "<30>1 T h app"),
        ("", ""),
    ],
)
def test_log_lines_for_people(line: str, expected: str) -> None:
    assert log_lines.readable(line) == expected


@pytest.mark.parametrize("data", [b"", b"{", b"1 2", b"NaN", b"nul", b"[1,]", b"\xff"])
def test_what_is_not_json_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode(data)
