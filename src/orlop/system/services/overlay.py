"""Services that a release has replaced, or has beside those of its image: which, by digest.

    /var/lib/orlop/os/services.json    {BUILD: {NAME: {digest, epoch, handover, definition}}}

What counts is what is said of the build that runs: another image has services of its own, and the
boot of an older one those that it had. `definition` is in normal form, as JSON; it was checked by a
worker when the release was staged. Empty is the one inside the image.
"""

from __future__ import annotations

import functools
import json
import logging
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib import atomic_file
from orlop.lib.errors import OrlopError
from orlop.wire.compose import parse_service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from orlop.system.boot import Boot
    from orlop.system.services.definitions import Definitions

log = logging.getLogger(__name__)

FILE = Path("/var/lib/orlop/os/services.json")
EPOCHS = "epochs.json"
"""Beside it: the format of services' data; see `services.data`."""
DOMAIN = "release.orlop.invalid"
"""Images of releases are named so that no registry can be asked for them."""
_DIGITS = 16


@dataclass(frozen=True, slots=True)
class ServiceVersion:
    """A service that is not the one inside the image; one with an empty *digest* is, with data in
    the format *epoch*. See `wire.release.Service`."""

    digest: str
    epoch: int = 0
    handover: bool = False
    definition: str = ""


type Versions = Mapping[str, ServiceVersion]


def reference(name: str, digest: str) -> str:
    """What the image of service *name* is called here."""
    return f"{DOMAIN}/{name}:{digest.removeprefix('sha256:')[:_DIGITS]}"


def is_reference(image: str) -> bool:
    """Whether *image* came with a release."""
    return image.startswith(f"{DOMAIN}/")


def parse_versions(value: object) -> dict[str, ServiceVersion]:
    """What `asdict` made of them, as JSON; what a later version has added is left out."""
    if not isinstance(value, dict):
        return {}
    return {
        str(name): ServiceVersion(
            str(entry["digest"]),
            int(entry.get("epoch", 0)),
            entry.get("handover") is True,
            str(entry.get("definition", "")),
        )
        for name, entry in value.items()
    }


def read(path: Path, build: str) -> dict[str, ServiceVersion]:
    """Those of the image with *build*; none if that cannot be read."""
    try:
        return parse_versions(json.loads(path.read_bytes()).get(build, {}))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.error("%s: %s; services are those of the image", path, error)
        return {}


def write(path: Path, build: str, versions: Versions, builds: Iterable[str]) -> None:
    """Let *versions* be the services of *build*, durably; of others only *builds* are kept."""
    if read(path, build) == dict(versions):
        return
    kept = {other: found for other in {*builds} - {build} if (found := read(path, other))}
    if versions:
        kept[build] = dict(versions)
    value = {
        other: {name: asdict(version) for name, version in found.items()}
        for other, found in sorted(kept.items())
    }
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    atomic_file.write_text(path, json.dumps(value), mode=0o600)


class Overlay:
    """Those in force. *is_there* tells whether a container can be made of an image."""

    def __init__(self, is_there: Callable[[str], bool], build: str, path: Path = FILE) -> None:
        self._is_there, self._build = is_there, build
        self.path = path

    @functools.cached_property
    def versions(self) -> dict[str, ServiceVersion]:
        """Read when services are defined for the first time: then there is a state partition."""
        return read(self.path, self._build)

    def set(self, name: str, version: ServiceVersion | None) -> None:
        """For as long as this program runs; None is the service inside the image."""
        self.versions.pop(name, None)
        if version is not None:
            self.versions[name] = version

    def epoch(self, name: str) -> int:
        """The format of its data that service *name* knows."""
        version = self.versions.get(name)
        return 0 if version is None else version.epoch

    async def bring_data(self, boot: Boot) -> None:
        """Before services are started: each has its data in the format that it knows.

        Raises:
            OrlopError: as `services.data.ServiceData.bring_all`, whose code most boots do not need.
        """
        epochs = (version.epoch for version in self.versions.values())
        if any(epochs) or os.access(self.path.with_name(EPOCHS), os.F_OK):
            from orlop.system.services.data import ServiceData

            await ServiceData(boot).bring_all()

    def add_to(self, found: Definitions) -> None:
        """Put them in the place of those of the image, which stays where one cannot be used."""
        for name, version in self.versions.items():
            if not version.digest:
                continue
            image = reference(name, version.digest)
            try:
                if version.definition:
                    definition = parse_service(name, json.loads(version.definition))
                elif name in found.services:
                    definition = found.services[name]
                else:
                    raise OrlopError("it is not described")
                if not self._is_there(image):
                    raise OrlopError(f"its image {version.digest[:19]} is not there")
            except (OrlopError, ValueError, KeyError, TypeError) as error:
                found.problems.append(
                    f"service {name}: that of the release cannot be used: {error}"
                )
                continue
            found.services[name] = replace(definition, image=image)
            found.sources[name] = str(self.path)
