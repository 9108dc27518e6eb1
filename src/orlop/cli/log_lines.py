"""The lines of the system's log, which are RFC 5424, for people.

    <27>1 2026-11-23T10:42:58.56Z orlop dhcpcd 1 - [orlop@32473 container="network"] no carrier
    2026-11-23T10:42:58.56Z network/dhcpcd error: no carrier

A line that is something else is shown as it is.
"""

from __future__ import annotations

from orlop.cli.arguments import UsageError
from orlop.cli.text import printable
from orlop.wire.syslog_line import parse_line

WARNING = 4
LEVELS = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")
SHORT_LEVELS = ("emerg", "alert", "crit", "err", "warn", "notice", "info", "debug")


def level_number(text: str) -> int:
    """The number of a level: `3`, `err` or `error`.

    Raises:
        UsageError: it is none.
    """
    if len(text) == 1 and text in "01234567":
        return int(text)
    for names in (LEVELS, SHORT_LEVELS):
        if text.lower() in names:
            return names.index(text.lower())
    raise UsageError(f"{text!r} is no level", hint=f"0 to 7, or one of {', '.join(LEVELS)}")


def readable(line: str) -> str:
    """*line*, without its end, as a person wants to read it."""
    entry = parse_line(line)
    if entry is None:
        return printable(line)
    level = int(str(entry["level"]))
    container, program = str(entry["container"]), str(entry["program"])
    source = program if container in ("", program) else f"{container}/{program}"
    grave = f" {LEVELS[level]}" if level <= WARNING else ""
    return printable(f"{entry['time']} {source}{grave}: {entry['message']}")
