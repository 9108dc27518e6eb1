"""The key of the status board."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orlop.wire.config.kinds import Kind
from orlop.wire.config.row import Key

if TYPE_CHECKING:
    from orlop.wire.compose_model import Json
    from orlop.wire.compose_values import Fields

FIRST = "tty1"
_TERMINAL = r"[A-Za-z][A-Za-z0-9]{0,30}"


def _terminals(fields: Fields, key: str) -> Json:
    """Names of terminals; true is the first screen, false none."""
    value = fields.take(key)
    if isinstance(value, bool):
        return [FIRST] if value else []
    items = value if isinstance(value, list) else [value]
    found: list[Json] = []
    for index, item in enumerate(items):
        text = fields.check_string(f"{key}[{index}]", item).removeprefix("/dev/")
        if re.fullmatch(_TERMINAL, text) is None:
            fields.fail(f"{key}[{index}]", f"must be a terminal such as tty1, not {text!r}")
        if text not in found:
            found.append(text)
    return found


TERMINALS = Kind(
    "true, false or list of terminals",
    {"type": ["boolean", "array", "string"], "items": {"type": "string"}},
    _terminals,
)

KEYS: tuple[Key, ...] = (
    Key(
        "orlop.console_board",
        TERMINALS,
        "Consoles that show the state of the machine until a key is pressed there.",
        "[tty1, ttyS0]",
        default="true: tty1",
    ),
)
