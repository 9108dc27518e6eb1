"""JSON in and out at the price of what is used.

`import json` brings `re` and `enum`: 10 ms of a command's start, a tenth of a second under
emulation. Reading needs only the scanner in C that `json` itself calls, so `decode` calls it
directly, and `compact` its writer; `encode` is for `--json`, where the price does not matter, and
imports the real thing.
"""

from __future__ import annotations

from _json import encode_basestring_ascii, make_encoder, make_scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class _Settings:
    """What the scanner asks its decoder for; see `json.decoder.JSONDecoder`."""

    strict = False
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int

    @staticmethod
    def parse_constant(name: str) -> object:
        raise ValueError(f"{name} is not JSON")


_scan: Callable[[str, int], tuple[object, int]] = make_scanner(_Settings())  # type: ignore[arg-type]


def decode(data: bytes) -> object:
    """The value of the JSON text *data*.

    Raises:
        ValueError: it is not JSON, or more than one value.
    """
    text = data.decode().strip()
    try:
        value, end = _scan(text, 0)
    except StopIteration as stop:
        raise ValueError(f"not JSON at character {stop.value}") from None
    if end != len(text):
        raise ValueError(f"not JSON from character {end}")
    return value


def _refuse(value: object) -> object:
    raise TypeError(f"{value!r:.100} has no form in JSON")


_write = make_encoder(None, _refuse, encode_basestring_ascii, None, ":", ",", False, False, False)


def compact(value: object) -> str:
    """*value* as JSON for the engine.

    Raises:
        TypeError, ValueError: it has no form in JSON.
    """
    return "".join(_write(value, 0))


def encode(value: object) -> str:
    """*value* as JSON for people and for `jq`: indented, characters as they are."""
    import json

    return json.dumps(value, indent=2, ensure_ascii=False)
