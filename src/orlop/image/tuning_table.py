"""The tuning table for PID 1: ``os/sysctl.toml`` checked, and as the JSON that it reads.

The rows' keys are described at the top of that file. Reasons, effects and exceptions stay in the
source; the machine needs path, value, kind and whether a failure matters.
"""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path

from orlop.lib.errors import InvalidArgument

TABLE = "os/sysctl.toml"
TABLE_PATH = "/usr/lib/orlop/sysctl.json"
KINDS = frozenset({"performance", "safety", "hardening"})
_TEXTS = frozenset({"key", "path", "value", "kind", "reason", "effect"})
_ROOTS = ("/proc/sys/", "/sys/", "/dev/")


def read_tuning_table(checkout: Path) -> bytes:
    """The JSON of the table in *checkout*.

    Raises:
        InvalidArgument: a row is not valid; the text names it.
    """
    return render_table((checkout / TABLE).read_text(encoding="utf-8"))


def render_table(text: str) -> bytes:
    """Check the TOML in *text* and return PID 1's JSON."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(f"{TABLE}: {error}") from None
    for key in data.keys() - {"setting", "exception"}:
        raise InvalidArgument(f"{TABLE}: {key}: unknown key")
    rows: list[dict[str, object]] = []
    seen: set[str] = set()
    for row in data.get("setting", []):
        rendered = _render_row(row)
        path = str(rendered["path"])
        if path in seen:
            raise InvalidArgument(f"{TABLE}: {path}: it is in the table twice")
        seen.add(path)
        rows.append(rendered)
    return (json.dumps({"settings": rows}, indent=1, sort_keys=True) + "\n").encode()


def _render_row(row: Mapping[str, object]) -> dict[str, object]:
    name = row.get("key", row.get("path", "a row without a key"))
    for key, value in row.items():
        if key == "optional":
            valid = isinstance(value, bool)
        else:
            valid = key in _TEXTS and isinstance(value, str) and value != ""
        if not valid:
            raise InvalidArgument(f"{TABLE}: {name}: {key} = {value!r} is not valid here")
    for key in ("value", "kind", "reason"):
        if key not in row:
            raise InvalidArgument(f"{TABLE}: {name}: it has no {key}")
    if row["kind"] not in KINDS:
        raise InvalidArgument(f"{TABLE}: {name}: kind is one of {', '.join(sorted(KINDS))}")
    if ("key" in row) == ("path" in row):
        raise InvalidArgument(f"{TABLE}: {name}: want either key or path")
    path = str(row.get("path", "/proc/sys/" + str(row.get("key")).replace(".", "/")))
    if not path.startswith(_ROOTS) or ".." in path.split("/"):
        raise InvalidArgument(f"{TABLE}: {path}: want a path below {' or '.join(_ROOTS)}")
    rendered: dict[str, object] = {"path": path, "value": row["value"], "kind": row["kind"]}
    return rendered | ({"optional": True} if row.get("optional") else {})
