"""Generations: what the machine is or was as a whole, numbered and never changed.

    gens/N/gen.json                    release, image, services, digest of the configuration
    gens/N/config.yml, secrets.yml     the machine's own document as it was
    gens/N/pinned                      there if it is to be kept
    standing.json                      which is good, which was before it, which is next

A directory is made beside the others and renamed: a generation is there whole or not at all. All
functions that touch files block.
"""

from __future__ import annotations

import json
import os
from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from orlop.lib import atomic_file, known_fields
from orlop.lib.errors import NotFound
from orlop.system.config.store import PUBLIC, SECRET, Texts
from orlop.system.services.overlay import ServiceVersion, parse_versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from orlop.wire.compose_model import Json

FILE, PIN, STANDING = "gen.json", "pinned", "standing.json"
ID_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Release:
    """*digest* is that of its manifest; empty for an image by itself, which nobody has signed.
    *health* are checks of its own, as `wire.release` has them."""

    version: str = ""
    sequence: int = 0
    digest: str = ""
    health: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Image:
    """A unified kernel image. *build* is what the system in it says of itself."""

    sha256: str
    size_bytes: int
    build: str

    @property
    def id(self) -> str:
        """Its name on the ESP."""
        return self.sha256[:ID_DIGITS]


@dataclass(frozen=True, slots=True)
class Generation:
    """See the module. *tainted*: unsigned, or changed by hand."""

    number: int
    created_s: float
    release: Release
    image: Image
    services: Mapping[str, ServiceVersion] = field(default_factory=dict)
    configuration: str = ""
    """The digest of its texts."""
    tainted: bool = False

    def same_as(self, other: Generation) -> bool:
        """Whether both are the same system with the same configuration."""
        return replace(self, number=0, created_s=0.0) == replace(other, number=0, created_s=0.0)

    @property
    def system(self) -> str:
        """What tells image and services apart from those of other generations."""
        if not self.services:
            return self.image.id
        text = json.dumps({k: asdict(v) for k, v in self.services.items()}, sort_keys=True)
        return f"{self.image.id}+{sha256(text.encode()).hexdigest()[:ID_DIGITS]}"

    def to_json(self) -> dict[str, Json]:
        """As gen.json has it."""
        image: dict[str, Json] = {"id": self.image.id, **asdict(self.image)}
        return {
            "number": self.number,
            "created": self.created_s,
            "release": asdict(self.release),
            "image": image,
            "services": {name: asdict(service) for name, service in self.services.items()},
            "configuration": {"digest": self.configuration},
            "tainted": self.tainted,
        }


@dataclass(frozen=True, slots=True)
class Standing:
    """Numbers of generations, 0 for none: proven good, proven good before that, and staged."""

    good: int = 0
    previous: int = 0
    staged: int = 0


class Generations:
    """Those below *directory*."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._base = directory / "gens"

    def numbers(self) -> list[int]:
        """In rising order."""
        try:
            names = os.listdir(self._base)
        except FileNotFoundError:
            return []
        return sorted(int(name) for name in names if name.isdecimal())

    def all(self) -> list[Generation]:
        return [self.read(number) for number in self.numbers()]

    def read(self, number: int) -> Generation:
        """Generation *number*.

        Raises:
            NotFound: there is none, or it cannot be read.
        """
        try:
            return _parse(json.loads((self._base / str(number) / FILE).read_bytes()))
        except FileNotFoundError:
            raise NotFound(f"there is no generation {number}", hint="orlop os list") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise NotFound(f"generation {number} cannot be read: {error}") from None

    def texts(self, number: int) -> Texts:
        """The configuration of generation *number*."""
        directory = self._base / str(number)
        return Texts(_text(directory / PUBLIC), _text(directory / SECRET))

    def next_number(self) -> int:
        """A number that no generation has had since it was written into `standing.json`."""
        return max([*self.numbers(), *asdict(self.standing()).values()], default=0) + 1

    def add(self, generation: Generation, texts: Texts) -> None:
        """Keep *generation*, whose number is free; may run twice."""
        name = str(generation.number)
        os.makedirs(self._base, mode=0o700, exist_ok=True)
        target = self._base / name
        if target.exists():
            return
        making = self._base / f"{atomic_file.TEMPORARY_PREFIX}{name}"
        _remove(making)
        making.mkdir(mode=0o700)
        for file, text in ((PUBLIC, texts.public), (SECRET, texts.secret)):
            atomic_file.write_text(making / file, text, mode=0o600)
        atomic_file.write_text(making / FILE, json.dumps(generation.to_json(), indent=1))
        making.rename(target)
        atomic_file.sync_directory(self._base)

    def remove(self, number: int) -> None:
        """Forget generation *number*; may run twice. It is gone as a whole with a rename."""
        target = self._base / str(number)
        making = self._base / f"{atomic_file.TEMPORARY_PREFIX}{number}"
        _remove(making)
        if target.exists():
            target.rename(making)
            atomic_file.sync_directory(self._base)
            _remove(making)

    def clean(self) -> None:
        """Remove what a crash has left."""
        try:
            names = os.listdir(self._base)
        except FileNotFoundError:
            return
        for name in names:
            if name.startswith(atomic_file.TEMPORARY_PREFIX):
                _remove(self._base / name)

    def pins(self) -> set[int]:
        """The generations that are kept because somebody said so."""
        return {n for n in self.numbers() if (self._base / str(n) / PIN).exists()}

    def pin(self, number: int, *, pinned: bool) -> None:
        """Keep generation *number*, or do not.

        Raises:
            NotFound: there is none.
        """
        self.read(number)
        path = self._base / str(number) / PIN
        if pinned:
            atomic_file.write_bytes(path, b"", mode=0o600)
        else:
            path.unlink(missing_ok=True)
            atomic_file.sync_directory(path.parent)

    def standing(self) -> Standing:
        try:
            data = json.loads((self._directory / STANDING).read_bytes())
            return known_fields.make(Standing, data)
        except (OSError, ValueError, TypeError, AttributeError):
            return Standing()

    def stand(self, standing: Standing) -> None:
        """Durably."""
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        text = json.dumps(asdict(standing))
        atomic_file.write_text(self._directory / STANDING, text, mode=0o600)


def digest_of(texts: Texts) -> str:
    """What tells two configurations apart; empty for none."""
    if not texts.public and not texts.secret:
        return ""
    digest: str = sha256(f"{texts.public}\0{texts.secret}".encode()).hexdigest()
    return digest


def collectable(
    numbers: Iterable[int], standing: Standing, pins: Iterable[int], keep: Iterable[int] = ()
) -> list[int]:
    """The generations that nobody needs any more; pure."""
    needed = {*asdict(standing).values(), *pins, *keep}
    return [number for number in numbers if number not in needed]


def difference(old: Generation, new: Generation) -> dict[str, Json]:
    """What *new* has that *old* has not, by part; only what differs."""
    found: dict[str, Json] = {}
    before, after = old.to_json(), new.to_json()
    for part in ("release", "image", "configuration", "tainted"):
        if before[part] != after[part]:
            found[part] = {"old": before[part], "new": after[part]}
    services: dict[str, Json] = {}
    for name in sorted({*old.services, *new.services}):
        pair = (old.services.get(name), new.services.get(name))
        if pair[0] != pair[1]:
            names = ("old", "new")
            services[name] = {
                k: None if v is None else shown(v) for k, v in zip(names, pair, strict=True)
            }
    if services:
        found["services"] = services
    return found


def shown(version: ServiceVersion) -> dict[str, Json]:
    """A service for people: its definition by digest."""
    definition = version.definition
    digest = f"sha256:{sha256(definition.encode()).hexdigest()}" if definition else None
    return {"digest": version.digest or None, "epoch": version.epoch, "definition": digest}


def _parse(value: Mapping[str, Mapping[str, object]]) -> Generation:
    services = value.get("services", {})
    return Generation(
        number=int(str(value["number"])),
        created_s=float(str(value["created"])),
        release=known_fields.make(Release, value["release"]),
        image=known_fields.make(Image, value["image"]),
        services=parse_versions(services),
        configuration=str(value["configuration"]["digest"]),
        tainted=bool(value.get("tainted")),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _remove(directory: Path) -> None:
    """A flat directory with all that is in it."""
    if not directory.exists():
        return
    for name in os.listdir(directory):
        os.unlink(directory / name)
    directory.rmdir()
