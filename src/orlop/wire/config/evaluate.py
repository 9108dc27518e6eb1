"""All sources of the configuration put together: what is in force, from where, and what is wrong.

Each source is whole in force or not at all. One that is broken counts as it was when it last was
whole, if a copy of that is given, else for nothing. Pure; input may be hostile.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from orlop.lib.errors import OrlopError
from orlop.wire.compose_file import parse_file
from orlop.wire.compose_model import to_json
from orlop.wire.config.document import APPEND, check_document, merge, settle
from orlop.wire.config.environment import fill, plain, proxies
from orlop.wire.config.kinds_services import FLAT, read_definition
from orlop.wire.config.table import AT_BOOT, SECRETS
from orlop.wire.located_yaml import LocatedYaml, parse_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orlop.wire.compose_model import Json
    from orlop.wire.config.document import Checked
    from orlop.wire.config.table import Path

    type Content = bytes | OSError

KERNEL = "kernel parameter"


@dataclass(frozen=True, slots=True)
class Source:
    """A file of *kind* `services`, or a document of the configuration: `config`, `own`, `secret`.

    *good* is the last content of it that was whole.
    """

    kind: str
    path: str
    content: Content
    good: tuple[str, bytes] | None = None
    """Path and content of the copy."""


@dataclass(slots=True)
class Evaluation:
    """The sum of sources, in rising order of precedence."""

    config: dict[str, Json] = field(default_factory=dict)
    origins: dict[Path, str] = field(default_factory=dict)
    services: dict[str, Json] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    good: dict[str, str] = field(default_factory=dict)
    """Sources that are whole and not as their copies are: what to copy."""

    cloud: dict[str, Json] = field(default_factory=dict)
    """What a data source said, for people."""

    def add(self, source: Source) -> None:
        """Lay *source* upon what there is."""
        if source.kind == "services":
            self._attempt(source.path, lambda: self._add_services(source))
        elif self._attempt(
            source.path, lambda: self.add_checked(check(source.path, source.content))
        ):
            known = None if source.good is None else source.good[1]
            is_copied = source.kind != "secret"
            if is_copied and isinstance(source.content, bytes) and source.content != known:
                self.good[source.path] = source.content.decode()
        elif source.good is not None:
            path, content = source.good
            if self._attempt(path, lambda: self.add_checked(check(path, content))):
                self.problems[-1] += "; it counts as it was before that"

    def add_word(self, document: Callable[[], LocatedYaml]) -> None:
        """Lay one kernel parameter upon what there is, or report it."""
        self._attempt(KERNEL, lambda: self.add_checked(check_document(document())))

    def add_checked(self, checked: Checked) -> None:
        """Lay a document upon what there is."""
        self.config = merge(self.config, checked.data)
        for leaf, place in checked.origins.items():
            name = (*leaf[:-1], leaf[-1].removesuffix(APPEND))
            below = self.origins.get(name)
            self.origins[name] = f"{below}, {place}" if name != leaf and below else place
        self.notices += [notice.text for notice in checked.notices]

    def _attempt(self, path: str, step: Callable[[], None]) -> bool:
        try:
            step()
        except OrlopError as error:
            self.problems.append(f"{error}{f' ({error.hint})' if error.hint else ''}")
        except (MemoryError, TimeoutError):
            self.problems.append(f"{path}:1: takes too long or too much memory to read")
        else:
            return True
        return False

    def _environment(self) -> dict[str, Json]:
        """`orlop.environment` of the documents up to now, and their proxies."""
        orlop = settle(self.config).get("orlop")
        own = orlop if isinstance(orlop, dict) else {}
        found, engine = own.get("environment"), own.get("engine")
        variables = proxies(engine) if isinstance(engine, dict) else {}
        return {**variables, **(found if isinstance(found, dict) else {})}

    def _add_services(self, source: Source) -> None:
        """The definitions in one file, all or none; JSON is YAML, so one reader serves both."""
        environment = self._environment()
        document = fill(read(source.path, source.content), environment)
        found = parse_file(document, plain(environment))
        self.services.update(
            {
                service.name: {"file": source.path, "definition": to_json(service)}
                for service in found.services
            }
        )

    def _add_described(self, config: dict[str, Json]) -> None:
        """The services that the configuration itself describes; one in a file counts more."""
        orlop = config.get("orlop")
        entries = orlop.get("services") if isinstance(orlop, dict) else None
        for name, entry in (entries if isinstance(entries, dict) else {}).items():
            for key, flat in FLAT.items():
                value = entry.get(key) if isinstance(entry, dict) else None
                if value is None or name in self.services:
                    continue
                place = self._place_of(("orlop", "services", name, key))
                self._attempt(place, partial(self._describe, name, value, place, flat))

    def _describe(self, name: str, value: Json, place: str, flat: bool) -> None:
        environment = self._environment()
        found = read_definition(name, value, lambda _: f"{place}: ", environment, flat=flat)
        self.services[name] = {"file": place, "definition": to_json(found)}

    def _place_of(self, path: Path) -> str:
        """The file and line of the first value at *path* or below it."""
        found = (place for leaf, place in self.origins.items() if leaf[: len(path)] == path)
        return next(found, ".".join(path))

    def answer(self) -> dict[str, Json]:
        """What PID 1 takes over."""
        config = settle(self.config)
        self._add_described(config)
        origins: dict[str, Json] = {".".join(leaf): place for leaf, place in self.origins.items()}
        return {
            "config": config,
            "origins": origins,
            "services": self.services,
            "problems": [*self.problems],
            "notices": [*self.notices],
            "good": dict(self.good),
            "cloud": self.cloud,
            "secrets": [[*path] for path in SECRETS],
            "at_boot": [*AT_BOOT],
        }


def evaluate(sources: Sequence[Source]) -> Evaluation:
    """Put *sources* together, in rising order of precedence."""
    found = Evaluation()
    for source in in_order(sources):
        found.add(source)
    return found


def in_order(sources: Sequence[Source]) -> list[Source]:
    """*sources* as they are put together: services get values from all of the configuration."""
    return sorted(sources, key=lambda source: source.kind == "services")


def read(path: str, content: Content) -> LocatedYaml:
    """The one YAML document in a file.

    Raises:
        OrlopError: it cannot be read, is no text or no YAML; says file and line.
    """
    if isinstance(content, OSError):
        raise OrlopError(f"{path}: {content.strerror}")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise OrlopError(f"{path}:{line}: not a text in UTF-8") from error
    return parse_yaml(path, text.removeprefix("\ufeff"))


def check(path: str, content: Content) -> Checked:
    """A file's content, checked.

    Raises:
        OrlopError: as `read` and `check_document` do.
    """
    return check_document(read(path, content))
