"""Which modules of the kernel are not in the ISO but in ``orlop-extras.erofs``."""

import tomllib
from collections.abc import Sequence
from pathlib import Path

from orlop.image.module_index import Module
from orlop.lib.errors import InvalidArgument

MODULES_LIST = "os/extras/modules.toml"
FOLDER = "extras"
"""Beside the index of modules, where the extras' are: in the system, a link to where they are."""


def read_module_names(checkout: Path) -> tuple[str, ...]:
    """The modules that are meant to be extras, by name.

    Raises:
        InvalidArgument: the list is not valid.
    """
    data = tomllib.loads((checkout / MODULES_LIST).read_text(encoding="utf-8"))
    names = data.get("modules")
    if not isinstance(names, list) or data.keys() != {"modules"}:
        raise InvalidArgument(f"{MODULES_LIST}: want a list, modules, and nothing else")
    return tuple(str(name).replace("-", "_") for name in names)


def split_modules(modules: Sequence[Module], names: Sequence[str]) -> frozenset[str]:
    """The modules that are extras: *names*, and what only these need.

    Raises:
        InvalidArgument: one of *names* is not a module, or one of the system's needs it.
    """
    known = {module.name for module in modules}
    if missing := sorted({*names} - known):
        raise InvalidArgument(f"{MODULES_LIST}: there is no module {missing[0]}")
    extras = {*names}
    users: dict[str, set[str]] = {}
    for module in modules:
        for need in module.needs:
            users.setdefault(need, set()).add(module.name)
    while more := {name for name, by in users.items() if by <= extras} - extras:
        extras |= more
    for module in modules:
        if module.name not in extras and (needed := sorted(extras.intersection(module.needs))):
            raise InvalidArgument(f"{MODULES_LIST}: {module.name} needs {needed[0]}")
    return frozenset(extras)
