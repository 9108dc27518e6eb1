"""What the values of `orlop.health` may be. Pure; input may be hostile.

In normal form durations are seconds (`90s`), and a check has exactly one of `KINDS`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orlop.wire.compose_values import Fields
from orlop.wire.config.kinds import Kind, choice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.wire.compose_model import Json
    from orlop.wire.config.kinds import Check

PLACES = ("required", "wanted")
KINDS = ("state", "exec", "http", "tcp")
_CONTAINER = r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}"
_HOST = r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._-]{1,253})"
_URL = rf"https?://{_HOST}(:\d{{1,5}})?(/[!-~]*)?"
_MAX_URL = 2048
MAX_CHECKS = 128


def _name(fields: Fields, key: str) -> Json:
    text = fields.string(key)
    if not 0 < len(text) <= 64 or not text.isprintable():
        fields.fail(key, f"must be up to 64 printable characters, not {text[:80]!r}")
    return text


def _container(fields: Fields, key: str) -> Json:
    text = fields.string(key)
    if re.fullmatch(_CONTAINER, text) is None:
        fields.fail(key, f"must be the name of a service or container, not {text[:80]!r}")
    return text


def _command(fields: Fields, key: str) -> Json:
    """A list, so that it is plain what runs: there may be no shell."""
    words = fields.check_strings(key, fields.take(key))
    if not words or not words[0]:
        fields.fail(key, "must be a list of a program and its arguments")
    return [*words]


def is_url(text: str) -> bool:
    """Whether *text* is a URL of HTTP, without a name and password in it."""
    match = re.fullmatch(_URL, text)
    return match is not None and len(text) <= _MAX_URL and _is_port((match[2] or ":80")[1:])


def _url(fields: Fields, key: str) -> Json:
    text = fields.string(key)
    if not is_url(text):
        fields.fail(key, f"must be a URL such as http://127.0.0.1:8080/, not {text[:80]!r}")
    return text


def _address(fields: Fields, key: str) -> Json:
    text = fields.string(key)
    match = re.fullmatch(rf"{_HOST}:(\d{{1,5}})", text)
    if match is None or not _is_port(match[2]):
        fields.fail(key, f"must be HOST:PORT or [V6]:PORT, not {text[:80]!r}")
    return text


def _is_port(text: str) -> bool:
    return 0 < int(text) < 65536


def duration(low_s: float, high_s: float) -> Kind:
    """A duration such as `1m30s`; `90s` in normal form."""

    def check(fields: Fields, key: str) -> Json:
        found = fields.duration_s(key, low_s)
        if not low_s <= found <= high_s:
            fields.fail(key, f"must be from {low_s:g}s to {high_s:g}s, not {found:g}s")
        return f"{found:g}s"

    return Kind(f"duration, {low_s:g}s to {high_s:g}s", {"type": "string"}, check)


def _status(fields: Fields, key: str) -> Json:
    return fields.integer(key, 100, 599)


def _checks(fields: Fields, key: str) -> Json:
    return [_item(entry) for entry in fields.entries(key, "checks", MAX_CHECKS)]


def parse_checks(data: object, what: str) -> dict[str, Json]:
    """*data*, which is the `health` of *what*: `required` and `wanted`, in normal form.

    Raises:
        InvalidArgument: it is something else.
    """
    fields = Fields(what, data, ("health",))
    places = {key: CHECKS.check(fields, key) for key in PLACES if fields.is_set(key)}
    for key in PLACES:
        fields.take(key)
    fields.finish()
    return places


def _item(fields: Fields) -> dict[str, Json]:
    found = {key: check(fields, key) for key, check in _PARTS.items() if fields.is_set(key)}
    for key in _PARTS:
        fields.take(key)  # so that an unknown one is compared with them
    fields.finish()
    kinds = [kind for kind in KINDS if kind in found]
    if len(kinds) != 1:
        fields.fail("", f"must have exactly one of {', '.join(KINDS)}")
    (kind,) = kinds
    for key, of in (("in", "exec"), ("status", "http"), ("insecure", "http")):
        if key in found and kind != of:
            fields.fail(key, f"belongs to {of}, not to {kind}")
    if kind == "exec" and "in" not in found:
        fields.fail("exec", "needs `in`, the service or container that the program is run in")
    if "engine" in found and kind not in ("state", "exec"):
        fields.fail("engine", f"belongs to state and exec, not to {kind}")
    return found


ENGINE = choice("system", "user")
TIMEOUT = duration(0.1, 60)
SETTLE = duration(1, 3600)
DEADLINE = duration(10, 24 * 3600)
INTERVAL = duration(5, 24 * 3600)

_PARTS: Mapping[str, Check] = {
    "name": _name,
    "state": _container,
    "exec": _command,
    "in": _container,
    "engine": ENGINE.check,
    "http": _url,
    "status": _status,
    "insecure": lambda fields, key: fields.boolean(key),
    "tcp": _address,
    "timeout": TIMEOUT.check,
}
_TYPES: Mapping[str, Json] = {
    "exec": {"type": "array", "items": {"type": "string"}},
    "engine": dict(ENGINE.schema),
    "status": {"type": "integer", "minimum": 100, "maximum": 599},
    "insecure": {"type": "boolean"},
}
CHECKS = Kind(
    "list of checks",
    {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {key: _TYPES.get(key, {"type": "string"}) for key in _PARTS},
            "additionalProperties": False,
        },
    },
    _checks,
)
