"""Taking a line of the system's log, which is RFC 5424, apart. Pure."""

from __future__ import annotations

FACILITY_BITS = 3
CONTAINER = 'container="'


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
