"""One entry of `write_files`: decoded, with its mode and owner as numbers. Pure.

Decoding happens here, where the input may be hostile, and not in PID 1: what comes out is text, or
base64 of what is no text. Source: cloud-init's cc_write_files, RancherOS config/cloudinit.
"""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING

from orlop.wire.compose_values import nearest
from orlop.wire.located_yaml import Octal

if TYPE_CHECKING:
    from orlop.wire.compose_model import Json
    from orlop.wire.compose_values import Fields

MAX_FILE_BYTES = 512 << 10
MAX_PATH = 1024
DEFAULT_MODE = "0644"
DEFAULT_OWNER = "0:0"

_GZIP = 31
"""zlib's window bits for the gzip format."""

KNOWN = {"root": 0, "rancher": 1100}
"""Users and groups with the same number everywhere: the default user has RancherOS's."""

_OWNER = rf"({'|'.join(KNOWN)}|\d{{1,9}})(?::({'|'.join(KNOWN)}|\d{{1,9}}))?"
_MODE = r"0?o?[0-7]{3,4}"
_ENCODINGS = {
    **dict.fromkeys(("", "text/plain", "text"), ()),
    **dict.fromkeys(("b64", "base64"), ("base64",)),
    **dict.fromkeys(("gz", "gzip"), ("gzip",)),
    **dict.fromkeys(
        ("gz+b64", "gz+base64", "gzip+b64", "gzip+base64", "b64+gzip", "base64+gzip"),
        ("base64", "gzip"),
    ),
}


def path(fields: Fields, key: str) -> Json:
    """An absolute path of a file, without steps up."""
    text = fields.string(key)
    parts = text.split("/")
    if not text.startswith("/") or len(text) > MAX_PATH or text.endswith("/") or ".." in parts:
        fields.fail(key, f"must be the absolute path of a file, not {text[:80]!r}")
    return "/" + "/".join(part for part in parts if part not in ("", "."))


def content(fields: Fields, key: str) -> Json:
    """A text of any length that a document may have."""
    value = fields.take(key)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        fields.fail(key, "must be a text")
    return str(value)


def encoding(fields: Fields, key: str) -> Json:
    """One of the names that cloud-init and RancherOS have."""
    text = fields.string(key).lower()
    if text not in _ENCODINGS:
        guess = nearest(text, list(_ENCODINGS))
        fields.fail(
            key,
            f"must be text/plain, base64, gzip or gzip+base64, not {text!r}",
            f"did you mean {guess}?" if guess else None,
        )
    return text


def mode(fields: Fields, key: str) -> Json:
    """Octal digits; YAML's 0644 is a number that is octal already."""
    value = fields.take(key)
    if isinstance(value, int) and not isinstance(value, bool):
        is_unclear = not isinstance(value, Octal) and re.fullmatch("[0-7]{3}", str(value))
        if not 0 <= value <= 0o7777 or is_unclear:
            fields.fail(key, f'must be in quotes or begin with 0, such as "0644", not {value}')
        return f"{value:04o}"
    if not isinstance(value, str) or re.fullmatch(_MODE, value) is None:
        fields.fail(key, f"must be octal digits such as 0644, not {value!r}")
    return f"{int(value.lower().replace('o', ''), 8):04o}"


def owner(fields: Fields, key: str) -> Json:
    """`USER` or `USER:GROUP`: numbers, for each service has users of its own, or who is `KNOWN`."""
    text = fields.string(key)
    match = re.fullmatch(_OWNER, text)
    if match is None:
        fields.fail(key, f"must be root, rancher or numbers, such as 1000:1000, not {text!r}")
    pair = (match[1], match[2] or match[1])
    return ":".join(str(KNOWN[name] if name in KNOWN else int(name)) for name in pair)


def finish(fields: Fields, item: dict[str, Json]) -> dict[str, Json]:
    """The whole entry, its content decoded; *fields* is for errors."""
    if "path" not in item:
        fields.fail("", "needs a path")
    data = str(item.get("content", "")).encode()
    for step in _ENCODINGS[str(item.get("encoding", ""))]:
        try:
            data = _decode(step, data)
        except ValueError:
            fields.fail("content", f"is no {step}")
    if len(data) > MAX_FILE_BYTES:
        fields.fail("content", f"is longer than {MAX_FILE_BYTES} bytes")
    found: dict[str, Json] = {"path": item["path"]}
    try:
        text = data.decode()
        if "\0" in text or "\r" in text:
            raise ValueError
        found["content"] = text
    except ValueError:
        found |= {
            "content": binascii.b2a_base64(data, newline=False).decode(),
            "encoding": "base64",
        }
    found["permissions"] = item.get("permissions", DEFAULT_MODE)
    found["owner"] = item.get("owner", DEFAULT_OWNER)
    if "container" in item:
        found["container"] = item["container"]
    return found


def _decode(step: str, data: bytes) -> bytes:
    if step == "base64":
        return binascii.a2b_base64(b"".join(data.split()), strict_mode=True)
    import zlib

    machine = zlib.decompressobj(_GZIP)
    try:
        decoded = machine.decompress(data, MAX_FILE_BYTES + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not machine.eof and len(decoded) <= MAX_FILE_BYTES:
        raise ValueError("cut short")
    return decoded
