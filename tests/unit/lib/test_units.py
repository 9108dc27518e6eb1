"""Sizes and durations."""

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.lib.units import format_duration, format_size, parse_duration_s, parse_size_bytes


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("4096", 4096),
        ("64m", 64 << 20),
        ("64M", 64 << 20),
        ("64MB", 64 << 20),
        ("1.5 GiB", 3 << 29),
        ("2t", 2 << 40),
    ],
)
def test_sizes(text: str, size_bytes: int) -> None:
    assert parse_size_bytes(text) == size_bytes


@pytest.mark.parametrize("text", ["", "m", "-1", "1x", "1 2", "0x10", "1e3", "9" * 400])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_size_bytes(text)


@pytest.mark.parametrize(
    ("text", "duration_s"),
    [("0", 0.0), ("30s", 30.0), ("1m30s", 90.0), ("1.5h", 5400.0), ("500ms", 0.5), ("10us", 1e-5)],
)
def test_durations(text: str, duration_s: float) -> None:
    assert parse_duration_s(text) == pytest.approx(duration_s)


@pytest.mark.parametrize("text", ["", "30", "s", "1m30", "-1s", "1 s", "9" * 400 + "s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_duration_s(text)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (20_000_000, "19.1 MiB"), (3 << 40, "3.0 TiB")],
)
def test_formatted_sizes(size_bytes: int, text: str) -> None:
    assert format_size(size_bytes) == text


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [(0.42, "0.4s"), (12.3, "12s"), (59.7, "1m00s"), (185, "3m05s"), (7620, "2h07m")],
)
def test_formatted_durations(duration_s: float, text: str) -> None:
    assert format_duration(duration_s) == text
