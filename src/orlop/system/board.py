"""The status board: the machine on one screen, for whoever walks past. Pure.

From what is known to the bytes that a terminal of VT100's kind shows: each line begins in its
place and is cleared to its end, so that a screen on which others have written is whole again.
ASCII only, for fonts and serial lines; anything else that others have written becomes a `?`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib.units import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop.wire.compose_model import Json

WIDE, HIGH = 60, 16
"""A terminal that is smaller gets the short form."""
MAX_COLUMNS, MAX_ROWS = 300, 120
LABEL_WIDTH = 11
MAX_WARNINGS = 5
BAR_WIDTH = 20

GOOD = frozenset({"running", "done"})
RESTING = frozenset({"skipped", "disabled", "stopped"})
WAITING = frozenset({"waiting", "starting"})

_REVERSE, _BOLD, _RED, _YELLOW, _GREEN, _DIM = "7", "1", "1;31", "33", "32", "2"
_MESSAGE_PAD = 2


@dataclass(frozen=True, slots=True)
class Facts:
    """What is shown; *status* is that of the API, *messages* pairs of a line and whether it is
    grave."""

    status: Mapping[str, Json]
    load: str = ""
    now: str = ""
    fingerprint: str = ""
    messages: Sequence[tuple[str, bool]] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """*text* without control characters, and how it looks: a parameter of SGR."""

    text: str
    look: str = ""


def screen(facts: Facts, columns: int, rows: int) -> bytes:
    """The whole screen of *columns* and *rows*, which may be anything."""
    columns = min(max(columns, 10), MAX_COLUMNS)
    rows = min(max(rows, 4), MAX_ROWS)
    found = lines(facts, columns, rows)
    parts = ["\x1b[?25l"]
    for number, line in enumerate(found, 1):
        text = line.text[:columns]
        if line.look == _REVERSE:
            text = text.ljust(columns)
        shown = f"\x1b[{line.look}m{text}\x1b[0m" if line.look and text else text
        # A full line is not followed by a clearance, which would take its last character.
        parts.append(f"\x1b[{number};1H{shown}" + ("\x1b[K" if len(text) < columns else ""))
    return "".join(parts).encode("ascii", "replace")


def lines(facts: Facts, columns: int, rows: int) -> list[Line]:
    """As many lines as there are *rows*."""
    foot = Line(_clean(_foot(facts, columns)), _REVERSE)
    head = [Line(_clean(_title(facts.status, facts.now, columns)), _REVERSE)]
    if columns < WIDE or rows < HIGH:
        body = _short(facts, columns)
    else:
        body = _body(facts, columns)
        room = rows - len(head) - len(body) - 3
        body += _messages(facts.messages, room)
    body = body[: rows - len(head) - 1]
    body += [Line("")] * (rows - len(head) - 1 - len(body))
    return [*head, *body, foot]


def _clean(text: str) -> str:
    return "".join(char if " " <= char <= "~" else "?" for char in text)


def _title(status: Mapping[str, Json], now: str, columns: int) -> str:
    left = f" {_text(status, 'hostname') or 'Orlop'}"
    if columns >= WIDE:
        left += f"   Orlop {_text(status, 'version')}, Linux {_text(status, 'kernel')}"
    right = f"{now} "
    return left.ljust(columns - len(right)) + right if len(left + right) < columns else left


def _foot(facts: Facts, columns: int) -> str:
    key = " Any key: log in here"
    address = next(iter(_addresses(facts.status)), ("", ""))[0].partition("/")[0]
    ssh = f"elsewhere: ssh root@{address} " if address and _ssh_runs(facts.status) else ""
    return key.ljust(columns - len(ssh)) + ssh if len(key + ssh) < columns else key


def _short(facts: Facts, columns: int) -> list[Line]:
    """For small terminals: what matters, one below the other."""
    status = facts.status
    found = [Line(f"{_text(status, 'phase')}, up {_uptime(status)}")]
    found += [Line(_clean(f"{name} {text}")) for text, name in _addresses(status)]
    bad = [text for text, look in _services(status) if look in (_RED, _YELLOW)]
    found.append(Line(_clean(f"services: {', '.join(bad) or 'well'}"), _YELLOW if bad else ""))
    found += [Line(_clean(f"! {text}"), _YELLOW) for text in _warnings(status)]
    return [Line(line.text[:columns], line.look) for line in found]


def _body(facts: Facts, columns: int) -> list[Line]:
    status = facts.status
    storage, storage_look = _storage(status)
    found = [Line("")]
    found.append(
        _row("state", f"{_text(status, 'phase')}, up {_uptime(status)}, load {facts.load}")
    )
    found.append(_row("memory", _memory(status)))
    found.append(_row("storage", storage, storage_look))
    addresses = [f"{text} ({name})" for text, name in _addresses(status)]
    found += _wrapped("addresses", addresses or ["none yet"], columns)
    found.append(_row("ssh", _ssh(facts)))
    found += _wrapped("services", [text for text, _ in _services(status)], columns)
    bad = [text for text, look in _services(status) if look == _RED]
    found += [_row("", f"look at {', '.join(bad)}", _RED)] if bad else []
    found.append(Line(""))
    warnings = _warnings(status)
    found += [Line(_clean(f"  ! {text}"), _YELLOW) for text in warnings[-MAX_WARNINGS:]]
    if len(warnings) > MAX_WARNINGS:
        found.append(Line(f"    {len(warnings) - MAX_WARNINGS} more: orlop status", _YELLOW))
    return found


def _row(label: str, text: str, look: str = "") -> Line:
    return Line(_clean(f"  {label.ljust(LABEL_WIDTH)} {text}"), look)


def _wrapped(label: str, items: Sequence[str], columns: int) -> list[Line]:
    """*items* side by side, as many to a line as fit."""
    found: list[Line] = []
    line = ""
    for item in items:
        if line and LABEL_WIDTH + 4 + len(line) + 2 + len(item) > columns:
            found.append(_row("" if found else label, line))
            line = ""
        line += ("  " if line else "") + item
    return [*found, _row("" if found else label, line)]


def _messages(messages: Sequence[tuple[str, bool]], room: int) -> list[Line]:
    """The last *messages*, as many as there is room for."""
    if room < 1 or not messages:
        return []
    shown = messages[-room:]
    found = [Line("  last messages", _BOLD)]
    return found + [
        Line(_clean(" " * _MESSAGE_PAD + text), _YELLOW if grave else "") for text, grave in shown
    ]


def _uptime(status: Mapping[str, Json]) -> str:
    return format_duration(_number(status, "uptime_s"))


def _memory(status: Mapping[str, Json]) -> str:
    memory = status.get("memory")
    memory = memory if isinstance(memory, dict) else {}
    total = _number(memory, "total_bytes")
    used = total - _number(memory, "available_bytes")
    return f"{_bar(used, total)} {format_size(int(used))} of {format_size(int(total))} in use"


def _storage(status: Mapping[str, Json]) -> tuple[str, str]:
    storage = status.get("storage")
    storage = storage if isinstance(storage, dict) else {}
    total, used = _number(storage, "size_bytes"), _number(storage, "used_bytes")
    amount = f"{format_size(int(used))} of {format_size(int(total))}"
    if storage.get("kind") != "disk":
        return f"in memory, lost at the next boot: {amount}", _YELLOW
    on = f"{_text(storage, 'filesystem')} on {_text(storage, 'device')}"
    what = f"{_bar(used, total)} {amount}, {on}"
    if storage.get("read_only") is True:
        return f"{what}, can only be read", _RED
    return what, _RED if total and used / total > 0.95 else ""


def _bar(used: float, total: float) -> str:
    filled = round(BAR_WIDTH * min(max(used / total, 0), 1)) if total else 0
    return f"[{'#' * filled}{'-' * (BAR_WIDTH - filled)}]"


def _ssh(facts: Facts) -> str:
    if not _ssh_runs(facts.status):
        return "closed until the configuration has ssh_authorized_keys"
    key = f"; host key {facts.fingerprint}" if facts.fingerprint else ""
    return f"open{key}"


def _ssh_runs(status: Mapping[str, Json]) -> bool:
    services = status.get("services")
    return any(
        isinstance(entry, dict) and entry.get("name") == "ssh" and entry.get("state") == "running"
        for entry in (services if isinstance(services, list) else [])
    )


def _services(status: Mapping[str, Json]) -> list[tuple[str, str]]:
    """Each service with its mark, and its look."""
    services = status.get("services")
    found = []
    for entry in services if isinstance(services, list) else []:
        if not isinstance(entry, dict):
            continue
        name, state = _text(entry, "name"), _text(entry, "state")
        if state in GOOD and entry.get("health") != "unhealthy":
            found.append((f"+ {name}", _GREEN))
        elif state in RESTING:
            found.append((f"- {name}", _DIM))
        elif state in WAITING:
            found.append((f"~ {name} ({state})", _YELLOW))
        else:
            found.append((f"x {name} ({'unhealthy' if state in GOOD else state})", _RED))
    return found


def _addresses(status: Mapping[str, Json]) -> list[tuple[str, str]]:
    """Each address with its interface."""
    found = status.get("addresses")
    return [
        (_text(entry, "address"), _text(entry, "interface"))
        for entry in (found if isinstance(found, list) else [])
        if isinstance(entry, dict)
    ]


def _warnings(status: Mapping[str, Json]) -> list[str]:
    found = status.get("warnings")
    return [str(text) for text in found] if isinstance(found, list) else []


def _text(value: Mapping[str, Json], key: str) -> str:
    found = value.get(key)
    return "" if found is None else str(found)


def _number(value: Mapping[str, Json], key: str) -> float:
    found = value.get(key)
    return found if isinstance(found, int | float) else 0
