"""Time zones by the rule that holds now: a table of names, and the file that programs read.

The whole database has half a megabyte of history. A server wants the present rule, which the last
line of each of its files is, in the form of POSIX; from that a file of 200 bytes is made in which
the rule holds for all times. Pure. Source: RFC 9636 (TZif).
"""

from __future__ import annotations

import re
import struct

from orlop.lib.errors import InvalidArgument

UTC = "UTC0"

# Not compiled here: PID 1 loads this module at each boot, and needs no rule but UTC's.
_RULE = (
    r"(?P<name>[A-Za-z]{3,}|<[A-Za-z0-9+-]{3,}>)(?P<sign>[+-]?)(?P<hours>\d{1,3})"
    r"(?::(?P<minutes>\d\d))?(?::(?P<seconds>\d\d))?[A-Za-z0-9<>+:,./-]*"
)
_FIRST_TIME = -(1 << 31)
"""A file without any change of the rule is one whose last line glibc does not look at."""


def rule_of(data: bytes) -> str:
    """The rule at the end of a file of the database, empty if it has none."""
    if not data.startswith(b"TZif") or not data.endswith(b"\n"):
        return ""
    text = data[:-1].rpartition(b"\n")[2].decode("ascii", "replace")
    return text if re.fullmatch(_RULE, text) else ""


def parse_table(text: str) -> dict[str, str]:
    """Names and rules, as the builder has written them: `NAME RULE` a line."""
    pairs = (line.split(" ") for line in text.splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def _standard_time(rule: str) -> tuple[bytes, int]:
    match = re.fullmatch(_RULE, rule)
    if match is None:
        raise InvalidArgument(f"{rule!r} is no rule of a time zone")
    hours, minutes, seconds = (int(match[part] or 0) for part in ("hours", "minutes", "seconds"))
    west_s = hours * 3600 + minutes * 60 + seconds
    return match["name"].strip("<>").encode() + b"\0", west_s if match["sign"] == "-" else -west_s


def tzif(rule: str) -> bytes:
    """The content of `/etc/localtime` for *rule*.

    Raises:
        InvalidArgument: it is no rule.
    """
    name, offset_s = (b"UTC\0", 0) if rule == UTC else _standard_time(rule)
    kind = struct.pack(">lBB", offset_s, 0, 0) + name

    def block(width: str) -> bytes:
        counts = struct.pack(">6l", 0, 0, 0, 1, 1, len(name))
        changes = struct.pack(f">{width}", _FIRST_TIME) + b"\0"
        return b"TZif2" + bytes(15) + counts + changes + kind

    return block("l") + block("q") + b"\n" + rule.encode() + b"\n"
