"""Small formats."""

import pytest

from orlop.cli import text
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


@pytest.mark.parametrize("data", [b"", b"{", b"1 2", b"NaN", b"nul", b"[1,]", b"\xff"])
def test_what_is_not_json_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode(data)
