"""A machine of directories beside a repository, with the real worker between them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from orlop.engine.registry.settings import Registries
from orlop.lib.children import Children
from orlop.system.config.configuration import Configuration
from orlop.system.storage import extras
from orlop.system.updates import (
    offers,
    stage,
)
from orlop.system.updates.offers import Wish
from orlop.wire.compose import parse_service
from tests.unit.system.updates.machine_tree import Tree, content
from tests.unit.system.updates.release_lab import ReleaseLab

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from orlop.system.boot import Boot
    from orlop.system.updates.generations import Generation
    from orlop.system.updates.ledger import Ledger
    from orlop.wire.compose_model import Json, ServiceDefinition


@dataclass
class Updates:
    """What `control.Updates` does, on directories."""

    tree: Tree
    directory: Path
    is_trial: bool = False
    applied: int = 0
    extras_there: set[str] = field(default_factory=set)
    fetching: asyncio.Lock = field(default_factory=asyncio.Lock)
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)
    end_fetch: Callable[[], object] | None = None

    async def reading(self) -> Ledger:
        return self.tree.ledger()

    def state_device(self) -> str:
        return "disk"

    @asynccontextmanager
    async def at_work(self, verb: str, *, write: bool = True) -> AsyncIterator[tuple[Ledger, Path]]:
        yield self.tree.ledger(), self.tree.esp

    async def stage(self, candidate: Any, source: Path, told: Callable[[int], None]) -> Generation:
        ledger, in_use = self.tree.ledger(), extras.in_use()
        return stage.stage(ledger, self.tree.esp, candidate, source, told, in_use)

    async def apply(self, *, now: bool, dry_run: bool) -> None:
        assert not now
        assert not dry_run
        self.applied += bool(self.tree.ledger().generations.standing().staged)


@dataclass
class Gate:
    closed: str = ""
    good: int = 0

    async def why(self, held: Callable[[], str]) -> str:
        return held() or self.closed

    async def became_good(self) -> None:
        self.good += 1


@dataclass
class Health:
    gate: Gate


@dataclass
class Images:
    loaded: dict[str, str] = field(default_factory=dict)

    def registries(self) -> Registries:
        return Registries()

    def is_there(self, image: str) -> bool:
        return image in self.loaded

    async def load(self, archive: Path, image: str, digest: str) -> None:
        assert archive.read_bytes() == ARCHIVE
        self.loaded[image] = digest


@dataclass
class Services:
    known: dict[str, ServiceDefinition] = field(
        default_factory=lambda: {"time": parse_service("time", {})}
    )

    def names(self) -> list[str]:
        return [*self.known]

    def definition(self, name: str) -> ServiceDefinition:
        return self.known[name]


@dataclass
class Config:
    current: Configuration


@dataclass
class Release:
    release: dict[str, str]
    warned: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        self.warned.append(text)


@dataclass
class Later:
    now: Updates


@dataclass
class Machine:
    config: Config
    updates: Later
    machine: Release
    children: Children
    health: Health
    images: Images = field(default_factory=Images)
    services: Services = field(default_factory=Services)


BUILD = "ab" * 8
STAGED = "release 2.0 is staged"
ARCHIVE = b"an archive with an image"
DIGEST = f"sha256:{'ab' * 32}"


class Place:
    """A machine that runs image `a`, and a repository in which there is `b`."""

    def __init__(self, place: Path) -> None:
        self.tree = Tree(place)
        (place / "lab").mkdir()
        self.lab = ReleaseLab(place / "lab")
        self.lab.old.write_bytes(content("a"))
        self.lab.image.write_bytes(content("b"))
        self.updates, self.gate = Updates(self.tree, place / "state/os"), Gate()
        self.config: dict[str, Json] = {
            "source": str(place / "lab/repo"),
            "root": self.lab.root.decode(),
        }

    def run[T](self, work: Callable[[Boot], Awaitable[T]]) -> T:
        async def inner() -> T:
            children = Children()
            children.start()
            found = Machine(
                Config(Configuration(data={"orlop": {"update": self.config}})),
                Later(self.updates),
                Release({"version": "1.0", "build": "build-a"}),
                children,
                Health(self.gate),
            )
            try:
                return await work(cast("Boot", found))
            finally:
                children.close()

        return asyncio.run(inner())

    def stage(self, wish: Wish = Wish()) -> dict[str, Json]:  # noqa: B008 - frozen
        return self.run(lambda boot: offers.stage(boot, wish, lambda _: None))
