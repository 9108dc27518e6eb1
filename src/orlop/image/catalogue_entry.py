"""What the catalogue offers, read from ``os/catalogue/NAME/``.

``image.toml`` has a table ``[catalogue]`` and says what the image holds: either what any service
of the system says (`orlop.image.contents`), which makes a small root of chosen files, or, with
``debian`` in that table, a whole Debian with its package manager. ``service.yml`` is the
definition, checked here as the system's own are; ``rootfs/`` is laid over the image.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orlop.image.contents import ImageContents, parse_contents
from orlop.lib.errors import InvalidArgument, NotFound
from orlop.wire.compose import parse_services
from orlop.wire.located_yaml import parse_yaml

SECTIONS = ("services", "consoles", "engines")
REGISTRY = "catalogue.internal"
"""Where images say they are from. No public name server ever answers for it (.internal), so what is
missing is never fetched from a stranger who took the name."""

_TABLE = "catalogue"
_KEYS = frozenset({"section", "description", "command", "debian"})
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """One folder below ``os/catalogue``.

    `command` is what the image runs by itself; `debian` the packages of a whole Debian, in which
    case `contents` is empty.
    """

    name: str
    section: str
    description: str
    command: tuple[str, ...]
    debian: tuple[str, ...]
    contents: ImageContents
    folder: Path

    @property
    def reference(self) -> str:
        return f"{REGISTRY}/{self.name}:latest"

    @property
    def definition(self) -> Path:
        return self.folder / "service.yml"

    @property
    def lock(self) -> str:
        """The name of its lock file in ``os/lock``."""
        return f"catalogue/{self.name}.lock"

    @property
    def packages(self) -> frozenset[str]:
        """The packages it names; what they depend on is `lock`'s work."""
        return frozenset(self.debian) or self.contents.all_packages


def read_entries(checkout: Path, names: Sequence[str] = ()) -> list[CatalogueEntry]:
    """The entries called *names*, or all, by name.

    Raises:
        NotFound: there is no such entry.
        InvalidArgument: a description or a definition is not valid.
    """
    folder = checkout / "os/catalogue"
    known = sorted(path.name for path in folder.iterdir() if path.is_dir())
    for name in names:
        if name not in known:
            raise NotFound(f"the catalogue has no {name}", hint=f"one of {', '.join(known)}")
    return [read_entry(folder / name) for name in known if not names or name in names]


def read_entry(folder: Path) -> CatalogueEntry:
    """The entry in *folder*.

    Raises:
        InvalidArgument: it is not valid; the text names the file.
    """
    path = folder / "image.toml"
    text = path.read_text(encoding="utf-8")
    contents = parse_contents(text, path, frozenset({_TABLE}))
    table = tomllib.loads(text).get(_TABLE)
    if not isinstance(table, dict) or not table.keys() <= _KEYS:
        raise InvalidArgument(f"{path}: want a table [{_TABLE}] with {', '.join(sorted(_KEYS))}")
    if _NAME.fullmatch(folder.name) is None:
        raise InvalidArgument(f"{folder.name!r} is no name for an entry of the catalogue")
    if table.get("section") not in SECTIONS:
        raise InvalidArgument(f"{path}: section: want one of {', '.join(SECTIONS)}")
    entry = CatalogueEntry(
        name=folder.name,
        section=str(table["section"]),
        description=_text(path, table),
        command=_strings(path, table, "command"),
        debian=_strings(path, table, "debian"),
        contents=contents,
        folder=folder,
    )
    if bool(entry.debian) == bool(contents.all_packages):
        raise InvalidArgument(f"{path}: want either `packages` or `debian`")
    if contents.python or contents.build:
        raise InvalidArgument(f"{path}: images of the catalogue have packages only")
    check_definition(entry)
    return entry


def check_definition(entry: CatalogueEntry) -> None:
    """Refuse a definition that a machine would refuse, or that is of another image.

    Raises:
        InvalidArgument: with file, and line where there is one.
    """
    path = entry.definition
    document = parse_yaml(str(path), path.read_text(encoding="utf-8"))
    if not isinstance(document.data, Mapping):
        raise InvalidArgument(f"{path}: want a mapping with `services`")
    services = parse_services(document.data, document.locate)
    if [service.name for service in services] != [entry.name]:
        raise InvalidArgument(f"{path}: want exactly one service, {entry.name}")
    if services[0].image != entry.reference:
        raise InvalidArgument(f"{path}: image: want {entry.reference}")


def _text(path: Path, table: Mapping[str, object]) -> str:
    value = table.get("description")
    if not isinstance(value, str) or not value:
        raise InvalidArgument(f"{path}: description: want a sentence")
    return value


def _strings(path: Path, table: Mapping[str, object], key: str) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidArgument(f"{path}: {key}: want a list of strings")
    return tuple(value)
