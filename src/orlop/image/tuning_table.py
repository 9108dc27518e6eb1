"""The tuning table os/sysctl.toml: checked, and turned into the JSON that PID 1 reads.

PID 1 reads the JSON only (`system.tuning`); docs/tuning.md has the tables that `to_markdown` makes.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from pathlib import Path

TABLE = "os/sysctl.toml"
TABLE_PATH = "/usr/lib/orlop/sysctl.json"

KINDS = ("performance", "safety", "hardening")
KEYS = {"key", "path", "value", "kind", "reason", "effect", "optional"}
EXCEPTION_KEYS = {"key", "recommended", "reason"}


@dataclass(frozen=True, slots=True)
class Row:
    """One setting. *name* is the sysctl or the path, as written; *path* the file."""

    name: str
    path: str
    value: str
    kind: str
    reason: str
    effect: str
    optional: bool


@dataclass(frozen=True, slots=True)
class Deviation:
    """A recommendation that is not followed."""

    name: str
    recommended: str
    reason: str


@dataclass(frozen=True, slots=True)
class Table:
    """The whole file."""

    settings: tuple[Row, ...]
    exceptions: tuple[Deviation, ...]


def read_tuning_table(checkout: Path) -> bytes:
    """The JSON of the table in *checkout*.

    Raises:
        InvalidArgument: a row is not valid; the text names it.
    """
    return to_json((checkout / TABLE).read_text(encoding="utf-8")).encode()


def sysctl_path(key: str) -> str:
    """The file of sysctl *key*; a name with dots in it (an interface) needs `path`."""
    return f"/proc/sys/{key.replace('.', '/')}"


def parse(text: str) -> Table:
    """Read and check the table.

    Raises:
        InvalidArgument: names the row and what is wrong with it.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(f"tuning table: {error}") from error
    settings = tuple(_row(entry) for entry in data.pop("setting", []))
    exceptions = tuple(_deviation(entry) for entry in data.pop("exception", []))
    if data:
        raise InvalidArgument(f"tuning table: unknown key {next(iter(data))}")
    names = [row.path for row in settings]
    for name in names:
        if names.count(name) > 1:
            raise InvalidArgument(f"tuning table: {name} is there twice")
    return Table(settings, exceptions)


def _row(entry: dict[str, object]) -> Row:
    name = str(entry.get("key") or entry.get("path") or "?")
    unknown = set(entry) - KEYS
    if unknown or ("key" in entry) == ("path" in entry):
        raise InvalidArgument(f"tuning table: {name}: wants key or path, not {unknown or 'both'}")
    texts = {key: entry.get(key) for key in ("value", "kind", "reason", "effect")}
    for key, value in texts.items():
        if not isinstance(value, str) or not value:
            raise InvalidArgument(f"tuning table: {name}: {key} is missing or no string")
    if texts["kind"] not in KINDS:
        raise InvalidArgument(f"tuning table: {name}: kind is one of {', '.join(KINDS)}")
    path = sysctl_path(name) if "key" in entry else name
    if not path.startswith(("/proc/sys/", "/sys/")) or ".." in path:
        raise InvalidArgument(f"tuning table: {name}: outside /proc/sys and /sys")
    value, kind, reason, effect = (str(texts[key]) for key in ("value", "kind", "reason", "effect"))
    return Row(name, path, value, kind, reason, effect, bool(entry.get("optional", False)))


def _deviation(entry: dict[str, object]) -> Deviation:
    if set(entry) != EXCEPTION_KEYS:
        raise InvalidArgument(f"tuning table: an exception has {', '.join(sorted(EXCEPTION_KEYS))}")
    return Deviation(str(entry["key"]), str(entry["recommended"]), str(entry["reason"]))


def to_json(text: str) -> str:
    """The builder's step: what goes to /usr/lib/orlop/sysctl.json."""
    settings: list[dict[str, str | bool]] = []
    for row in parse(text).settings:
        setting: dict[str, str | bool] = {"path": row.path, "value": row.value, "kind": row.kind}
        if row.optional:
            setting["optional"] = True
        settings.append(setting)
    return json.dumps({"settings": settings}, indent=0) + "\n"


def to_markdown(text: str) -> str:
    """The tables of docs/tuning.md."""
    table = parse(text)
    lines: list[str] = []
    for kind in KINDS:
        lines += [f"## {kind.capitalize()}", "", "| setting | value | why | effect |"]
        lines.append("|---|---|---|---|")
        for row in table.settings:
            if row.kind == kind:
                value = row.value.replace("|", "\\|")
                lines.append(f"| `{row.name}` | `{value}` | {row.reason} | {row.effect} |")
        lines.append("")
    lines += ["## Not followed", "", "| setting | recommended | why not |", "|---|---|---|"]
    lines += [f"| `{row.name}` | `{row.recommended}` | {row.reason} |" for row in table.exceptions]
    return "\n".join(lines) + "\n"
