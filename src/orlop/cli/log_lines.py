"""The lines of the system's log, which are RFC 5424, for people.

    <27>1 2026-11-23T10:42:58.56Z orlop dhcpcd 1 - [orlop@32473 container="network"] no carrier
    2026-11-23T10:42:58.56Z network/dhcpcd error: no carrier

A line that is something else is shown as it is.
"""

from __future__ import annotations

from orlop.cli.arguments import UsageError
from orlop.cli.text import printable

FACILITY_BITS = 3
WARNING = 4
LEVELS = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")
SHORT_LEVELS = ("emerg", "alert", "crit", "err", "warn", "notice", "info", "debug")
CONTAINER = 'container="'


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


def parse_line(line: str) -> dict[str, object] | None:
    """The members of one RFC 5424 line; None if it is no such line."""
    fields = line.split(" ", 6)
    priority, closed, version = fields[0].lstrip("<").partition(">")
    if len(fields) < 7 or not closed or version != "1" or not priority.isdecimal():
        return None
    structure, message = split_structure(fields[6])
    container = structure.partition(CONTAINER)[2].partition('"')[0]
    return {
        "time": fields[1],
        "level": int(priority) & (1 << FACILITY_BITS) - 1,
        "host": fields[2],
        "program": fields[3],
        "process": fields[4],
        "container": container,
        "message": message.removeprefix("\ufeff"),
    }


def split_structure(text: str) -> tuple[str, str]:
    """Structured data (`-`, or elements in brackets, their values in quotes), and the rest."""
    if not text.startswith("["):
        structure, _, message = text.partition(" ")
        return structure, message
    position, quoted = 0, False
    while position < len(text):
        char = text[position]
        if quoted and char == "\\":
            position += 1  # the next one counts for nothing
        elif char == '"':
            quoted = not quoted
        elif char == "]" and not quoted and not text.startswith("[", position + 1):
            return text[: position + 1], text[position + 1 :].removeprefix(" ")
        position += 1
    return text, ""
