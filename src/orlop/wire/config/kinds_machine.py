"""What the values of keys about the machine's beginning and end may be. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orlop.wire.config.kinds import Kind

if TYPE_CHECKING:
    from orlop.wire.compose_model import Json
    from orlop.wire.compose_values import Fields

MAX_MESSAGE = 4096
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


MESSAGE = Kind("text", {"type": "string"}, _message)
DELAY = Kind("now, +MINUTES", {"type": ["string", "integer"]}, _delay)
