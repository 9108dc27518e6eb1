"""What the values of keys about the machine's beginning and end may be. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orlop.wire.config.kinds import Kind

if TYPE_CHECKING:
    from orlop.wire.compose_model import Json
    from orlop.wire.compose_values import Fields

MAX_MESSAGE = 4096
MAX_POST = 32
_URL = r"https?://[^\s/@?#]+([/?][^\s#]*)?"
_FIELD = r"[a-z0-9_]{1,64}"
_DELAY = r"now|\+?(\d{1,5})"


def _message(fields: Fields, key: str) -> Json:
    text = fields.string(key).strip()
    if len(text) > MAX_MESSAGE or not text.replace("\n", " ").replace("\t", " ").isprintable():
        fields.fail(key, f"must be up to {MAX_MESSAGE} printable characters")
    return text


def _delay(fields: Fields, key: str) -> Json:
    """Minutes."""
    text = fields.string(key)
    match = re.fullmatch(_DELAY, text)
    if match is None:
        fields.fail(key, f"must be now, or a number of minutes such as +5, not {text!r}")
    return int(match[1] or 0)


def _url(fields: Fields, key: str) -> Json:
    text = fields.string(key)
    if re.fullmatch(_URL, text) is None or len(text) > MAX_MESSAGE:
        fields.fail(key, "must be an http:// or https:// URL without a user in it")
    return text


def _post(fields: Fields, key: str) -> Json:
    """The names that are listed, or none for all."""
    names = fields.strings(key)
    if [*names] == ["all"]:
        return []
    if not names or len(names) > MAX_POST:
        fields.fail(key, f"must be all, or a list of 1 to {MAX_POST} names")
    for name in names:
        if re.fullmatch(_FIELD, name) is None:
            fields.fail(key, f"has {name[:64]!r}, which is no name such as instance_id")
    return [*dict.fromkeys(names)]


MESSAGE = Kind("text", {"type": "string"}, _message)
DELAY = Kind("now, +MINUTES", {"type": ["string", "integer"]}, _delay)
URL = Kind("URL", {"type": "string"}, _url)
POST = Kind(
    "all, or list of names",
    {"anyOf": [{"const": "all"}, {"type": "array", "items": {"type": "string"}}]},
    _post,
)
