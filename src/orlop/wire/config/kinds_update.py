"""Kinds of the values that say where releases come from. Pure; input may be hostile."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orlop.lib.errors import OrlopError
from orlop.wire.config.kinds import Kind

if TYPE_CHECKING:
    from orlop.wire.compose_model import Json
    from orlop.wire.compose_values import Fields

_SOURCE = r"https?://[^\s/@?#]+(/[^\s?#]*)?|oci://[^\s@]+|/[^\s]*"
AUTOMATIC = ("off", "check", "stage", "apply")
_FILE = r"/[^\s]+"


def _source(fields: Fields, key: str) -> Json:
    text = fields.string(key).rstrip("/")
    if re.fullmatch(_SOURCE, text) is None or ".." in text.split("/"):
        fields.fail(
            key,
            f"must be https://HOST/PATH, oci://HOST/NAME:TAG or the path of a directory or an "
            f"archive, not {text[:80]!r}",
        )
    return text


def _channel(fields: Fields, key: str) -> Json:
    from orlop.wire.channel import NAME

    text = fields.string(key)
    if NAME.fullmatch(text) is None:
        fields.fail(key, f"must be the name of a channel, as stable, not {text[:80]!r}")
    return text


def _root(fields: Fields, key: str) -> Json:
    from orlop.wire.tuf.metadata import parse_root

    text = fields.string(key)
    if re.fullmatch(_FILE, text) and ".." not in text.split("/"):
        return text
    try:
        parse_root(text.encode())
    except (OrlopError, UnicodeEncodeError) as error:
        fields.fail(key, f"must be a path, or the content of a root.json: {error}")
    return text


def _automatic(fields: Fields, key: str) -> Json:
    value = fields.take(key)
    if value is False:  # what YAML makes of off
        return "off"
    if value not in AUTOMATIC:
        fields.fail(key, f"must be one of {', '.join(AUTOMATIC)}, not {value!r}")
    return str(value)


def _wariness(fields: Fields, key: str) -> Json:
    value = fields.take(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        fields.fail(key, f"must be a number from 0 (first) to 100 (last), not {value!r}")
    return value


SOURCE = Kind("URL, oci://HOST/NAME:TAG, or path", {"type": "string"}, _source)
CHANNEL = Kind("name", {"type": "string"}, _channel)
ROOT = Kind("path, or text of a root.json", {"type": "string"}, _root)
MODE = Kind(", ".join(AUTOMATIC), {"enum": [*AUTOMATIC, False]}, _automatic)
WARINESS = Kind("number from 0 to 100", {"type": "number"}, _wariness)
