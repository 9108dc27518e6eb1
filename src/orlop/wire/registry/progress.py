"""Progress messages as dockerd sends them and the docker CLI draws them: JSON, CR LF.

Source: moby's pkg/jsonmessage and pkg/streamformatter (v28). Keys come in Go's order, so that the
bytes are the same too.
"""

from __future__ import annotations

import json
from typing import Any

type Message = dict[str, Any]

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_BAR_WIDTH = 50


def status(text: str, id_: str = "") -> Message:
    """A line of text, under *id_* if it is about one layer."""
    return {"status": text, "id": id_} if id_ else {"status": text}


def action(text: str, id_: str) -> Message:
    """What is being done to a layer, without a bar."""
    return {"status": text, "progressDetail": {}, "id": id_}


def progress(text: str, id_: str, current: int, total: int) -> Message:
    """The same with a bar; *total* 0 is unknown."""
    detail = {}
    if current:
        detail["current"] = current
    if total:
        detail["total"] = total
    message: Message = {"status": text, "progressDetail": detail}
    if bar := format_bar(current, total):
        message["progress"] = bar
    message["id"] = id_
    return message


def aux(value: object) -> Message:
    """Something for programs."""
    return {"progressDetail": {}, "aux": value}


def error(text: str) -> Message:
    """The last message of what failed after its answer had begun."""
    return {"errorDetail": {"message": text}, "error": text}


def encode(message: Message) -> bytes:
    """As bytes of the stream, characters escaped as Go's encoder does."""
    text = json.dumps(message, separators=(",", ":"), ensure_ascii=False)
    escaped = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return escaped.encode("utf-8", "replace") + b"\r\n"


def format_bar(current: int, total: int) -> str:
    """`[====>    ]  1.05MB/2.1MB`."""
    if current <= 0 and total <= 0:
        return ""
    if total <= 0:
        return f"{human_size(current):>8}"
    percentage = min(int(current / total * 100) // 2, _BAR_WIDTH)
    bar = "=" * percentage + ">" + " " * (_BAR_WIDTH - percentage)
    numbers = f"{human_size(current):>8}"
    if current <= total:
        numbers += f"/{human_size(total)}"
    return f"[{bar}] {numbers}"


def human_size(size: int) -> str:
    """`1.049MB`: four digits, powers of a thousand, as github.com/docker/go-units."""
    value = float(size)
    unit = 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    return f"{value:.4g}{_UNITS[unit]}"
