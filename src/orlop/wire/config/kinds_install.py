"""What the values of the keys for an installation may be: see `kinds`. Input may be hostile."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orlop.wire.config.kinds import Kind

if TYPE_CHECKING:
    from orlop.wire.compose_model import Json
    from orlop.wire.compose_values import Fields

MAX_DISKS = 16
ONLY = "only"
"""The disk of a machine that has just one."""

_DISK = r"(SERIAL|ID)=[!-~]{1,200}|/dev/disk/by-id/[!-~]{1,200}"
_URL = r"https?://[^\s@]{1,2000}"
_SHA256 = r"(sha256:)?[0-9a-f]{64}"
_KEY_FILE = (
    r"(LABEL|UUID|PARTLABEL|PARTUUID|SERIAL|ID)="
    r"[A-Za-z0-9_.+@-]{1,100}:/(?!.*\.\./)[A-Za-z0-9_.+@-][A-Za-z0-9_.+@/-]{0,200}"
)
_PARAMETERS = r"[ -~]{0,1000}"


def _disks(fields: Fields, key: str) -> Json:
    found: list[Json] = []
    for index, text in enumerate(fields.strings(key)):
        if text != ONLY and re.fullmatch(_DISK, text) is None:
            fields.fail(
                f"{key}[{index}]",
                "must be SERIAL=, ID= or /dev/disk/by-id/, which mean the same disk wherever it is "
                f"plugged in, or {ONLY}; not {text[:80]!r}",
            )
        found.append(text)
    if len(found) > MAX_DISKS:
        fields.fail(key, f"has more than {MAX_DISKS} disks")
    return found


def _document(fields: Fields, key: str) -> Json:
    """A configuration inside one: it is checked as one by who installs it."""
    value = fields.take(key)
    if not isinstance(value, dict):
        fields.fail(key, "must be a map, a configuration of its own")
    return _plain(fields, key, value)


def _plain(fields: Fields, key: str, value: object) -> Json:
    """*value* as JSON has it: what a document may hold besides has no place here."""
    if isinstance(value, dict):
        return {str(name): _plain(fields, key, inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(fields, key, inner) for inner in value]
    if value is not None and not isinstance(value, str | int | float):
        fields.fail(key, "has a value that is neither text, number, list nor map")
    return value


def _matching(pattern: str, what: str, *, shown: bool = True) -> Kind:
    def check(fields: Fields, key: str) -> Json:
        text = fields.string(key)
        if re.fullmatch(pattern, text) is None:
            fields.fail(key, f"must be {what}{f', not {text[:80]!r}' if shown else ''}")
        return text

    return Kind(what, {"type": "string"}, check)


DISKS = Kind(
    "list of SERIAL=, ID=, /dev/disk/by-id/, only",
    {"type": ["array", "string"], "items": {"type": "string"}},
    _disks,
)
DOCUMENT = Kind("a configuration", {"type": "object"}, _document)
URL = _matching(_URL, "the http:// or https:// address of a file")
SHA256 = _matching(_SHA256, "64 hexadecimal digits")
PASSPHRASE = _matching(r"[^\x00-\x1f\x7f]{1,500}", "one line of text", shown=False)
KEY_FILE = _matching(_KEY_FILE, "DISK:/FILE")
PARAMETERS = _matching(_PARAMETERS, "kernel parameters, separated by blanks")
