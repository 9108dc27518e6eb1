"""How values look to people: aligned columns, ages, sizes, and nothing that could drive a terminal.

Times come from the engine in RFC 3339 and are compared as numbers; `datetime` is in C and cheap.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

GAP = "   "
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def columns(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with *header* over *rows*, each column as wide as its widest cell."""
    table = [list(header), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = (
        GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in table
    )
    return "\n".join(line.rstrip() for line in lines)


def printable(text: str) -> str:
    """*text* on one line and without control characters, which could move a terminal's cursor."""
    return "".join(char if char.isprintable() else "?" for char in text)


def shorten(text: str, width: int) -> str:
    """*text*, cut with an ellipsis if it is longer than *width*."""
    return text if len(text) <= width else text[: max(width - 3, 0)] + "..."


def size(size_bytes: float) -> str:
    """`61.4 MiB`, `512 B`."""
    value = float(size_bytes)
    for unit in _UNITS[:-1]:
        if abs(value) < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} {_UNITS[-1]}"


def duration(duration_s: float) -> str:
    """`3 seconds`, `5 minutes`, `2 hours`, `9 days`, as Docker rounds them."""
    whole_s = max(int(duration_s), 0)
    for limit_s, unit_s, name in (
        (120, 1, "second"),
        (7200, 60, "minute"),
        (172800, 3600, "hour"),
    ):
        if whole_s < limit_s:
            count = whole_s // unit_s
            return f"{count} {name}{'' if count == 1 else 's'}"
    return f"{whole_s // 86400} days"


def parse_time(text: str) -> float | None:
    """Seconds since 1970 of an RFC 3339 time; None for no time and for year 1, Docker's "never"."""
    from datetime import UTC, datetime

    if not text or text.startswith("0001-"):
        return None
    whole, point, rest = text.partition(".")
    if point:
        # Nine digits from the engine; datetime reads six.
        digits = len(rest) - len(rest.lstrip("0123456789"))
        text = f"{whole}.{rest[:digits][:6]}{rest[digits:]}"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class Style:
    """Colours on a terminal that has them, nothing anywhere else."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def bold(self, text: str) -> str:
        return self._wrap("1", text)

    def dim(self, text: str) -> str:
        return self._wrap("2", text)

    def good(self, text: str) -> str:
        return self._wrap("32", text)

    def bad(self, text: str) -> str:
        return self._wrap("1;31", text)

    def warning(self, text: str) -> str:
        return self._wrap("33", text)

    def _wrap(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text
