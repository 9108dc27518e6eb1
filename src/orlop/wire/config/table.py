"""The machine configuration's keys: the one table that everything about them is made from.

The validator (`document`), JSON Schema (`json_schema`), documents and explanations (`manual`), and
what the `rancher:` tree of RancherOS means (`rancher`). A new key is one row in a module of `keys`,
and code that acts on its value.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orlop.wire.config import files, kinds, kinds_firewall, kinds_network, kinds_people
from orlop.wire.config.keys import (
    board,
    consoles,
    engine,
    firewall,
    gate,
    health,
    install,
    machine,
    network,
    people,
    services,
    storage,
    tls,
    update,
)
from orlop.wire.config.row import EACH, NAME, Applies, Key, Path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orlop.wire.compose_model import Json
    from orlop.wire.compose_values import Fields

__all__ = ["EACH", "NAME", "Applies", "Key", "Path"]

KEYS: tuple[Key, ...] = (
    *machine.KEYS,
    *storage.KEYS,
    *people.KEYS,
    *network.KEYS,
    *firewall.KEYS,
    *services.KEYS,
    *health.KEYS,
    *gate.KEYS,
    *board.KEYS,
    *engine.KEYS,
    *tls.KEYS,
    *consoles.KEYS,
    *update.KEYS,
    *install.KEYS,
)
"""Every row, in the order of the reference."""

_INTERFACES: Path = ("orlop", "network", "interfaces")

NAMES: Mapping[Path, tuple[re.Pattern[str], str]] = {
    _INTERFACES: (
        re.compile(r"(mac|driver|path)=[^\s/%+]{1,64}|[^\s/:%+]{1,15}"),
        "an interface name or pattern",
    ),
    ("orlop", "engine", "registries"): (
        re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"),
        "a registry, HOST or HOST:PORT",
    ),
    ("orlop", "services"): (kinds.SERVICE_NAME, "a service name"),
}
"""Where names may stand: their form, and what they are."""


RULES: Mapping[Path, Callable[[Fields, dict[str, Json]], dict[str, Json]]] = {
    ("write_files", EACH): files.finish,
    ("orlop", "firewall", "rules", EACH): kinds_firewall.finish_rule,
    ("users", EACH): kinds_people.finish,
    ("orlop", "network", "routes", EACH): kinds_network.finish_route,
    ("orlop", "network", "rules", EACH): kinds_network.finish_rule,
    (*_INTERFACES, NAME, "wireguard", "peers", EACH): kinds_network.finish_peer,
}
"""What the rows below a list cannot say alone: the check of a whole item, in normal form."""

SHORT_FORMS: Mapping[Path, Callable[[object], object]] = {("users", EACH): kinds_people.expand}
"""Lists whose items may be written in another way than as a map, and what makes a map of them."""


def find(path: Path) -> Key | None:
    """The row of the value at *path*, or None."""
    rows = (key for key in KEYS if len(key.segments) == len(path))
    return next((key for key in rows if fits(key.segments, path)), None)


def fits(pattern: Path, path: Path) -> bool:
    """Whether *path* is one of those that *pattern* stands for."""
    return len(pattern) == len(path) and all(
        want in (NAME, have) for want, have in zip(pattern, path, strict=True)
    )


def split_key(text: str) -> Path | None:
    """The path that a dotted key names, if it is that of a row or of a map around rows.

    A name within may have dots in it, as `eth0.100` has: the rows say where it ends.
    """
    words = text.split(".")
    for key in KEYS:
        count = len(key.segments)
        if key.kind.is_map and len(words) > count and fits(key.segments, tuple(words[:count])):
            return (*words[:count], ".".join(words[count:]))
    patterns = {key.segments[:length] for key in KEYS for length in range(1, len(key.segments) + 1)}
    for pattern in sorted(patterns, key=len, reverse=True):
        found = _match(pattern, words)
        if found is not None:
            return found
    return None


def _match(pattern: Path, words: list[str]) -> Path | None:
    """*words* as *pattern* has it, with those that a `NAME` spans in one."""
    if NAME not in pattern or pattern[-1] == NAME:
        return tuple(words) if fits(pattern, tuple(words)) else None
    before = pattern.index(NAME)
    end = len(words) - (len(pattern) - before - 1)
    found = (*words[:before], ".".join(words[before:end]), *words[end:])
    return found if end > before and fits(pattern, found) else None


SECRETS: tuple[Path, ...] = tuple(
    (*key.segments, NAME) if key.kind.is_map else key.segments for key in KEYS if key.secret
)
"""The paths of values that nobody is shown: patterns of `secrets`."""

AT_BOOT: tuple[str, ...] = tuple(key.path for key in KEYS if key.applies is Applies.BOOT)
"""The keys whose change takes effect at the next boot."""
