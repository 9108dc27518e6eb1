"""The images an engine can make containers from.

Here: directories that belong to the read-only system image, `NAME/rootfs` with `NAME/service.json`
beside it. `ImageStore` is what the rest of the engine knows about images.
"""

from __future__ import annotations

import json
import logging
import os

# Not hashlib: that loads OpenSSL's library, six megabytes that PID 1 has no other use for.
from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from orlop.lib.errors import InvalidArgument, NotFound, OrlopError
from orlop.wire.compose import parse_service

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orlop.wire.compose_model import HealthCheck

log = logging.getLogger(__name__)

MAX_DEFINITION_BYTES = 256 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What a container takes from its image where its own configuration says nothing."""

    id: str
    name: str
    lower: tuple[Path, ...]
    """Directories for the overlay, uppermost first."""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    user: str = ""
    working_dir: str = ""
    stop_signal: str = ""
    healthcheck: HealthCheck | None = None
    labels: tuple[tuple[str, str], ...] = ()
    volumes: tuple[str, ...] = ()
    """Where the image wants volumes to be."""
    created_ns: int = 0
    exposed_ports: tuple[str, ...] = ()
    """`80/tcp` each."""
    tags: tuple[str, ...] = ()
    """Its names as people write them, `busybox:1`."""
    digests: tuple[str, ...] = ()
    """`busybox@sha256:…`, for each registry it came from or went to."""
    layers: tuple[str, ...] = ()
    """Diff ids, the lowest first."""
    size_bytes: int = 0
    parent: str = ""
    tagged_ns: int = 0
    document: Mapping[str, Any] = field(default_factory=dict)
    """The image's whole configuration as it came, checked only in what the fields above hold."""


class ImageStore(Protocol):
    """Images by reference."""

    def get(self, reference: str) -> Image:
        """The image called *reference*, or whose id is or begins with it.

        Raises:
            NotFound: there is none.
        """

    def all(self) -> list[Image]:
        """Every image, by name."""

    def for_container(self, image_id: str, reference: str) -> Image:
        """The image a container was made from as *reference* when that meant *image_id*.

        Raises:
            NotFound: it is no more.
        """

    async def mount(self, image: Image, user: str) -> None:
        """Make the directories in `lower` be there, until `unmount` for the same *user*.

        Raises:
            OrlopError: a layer is damaged, or cannot be mounted.
        """

    def unmount(self, user: str) -> None:
        """*user* does not need its image's directories any more; may run twice, never raises."""


class DirectoryImages:
    """An `ImageStore` over a directory of directories, read at each request: there are few."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get(self, reference: str) -> Image:
        name = reference.removesuffix(":latest")
        if name and "/" not in name and not name.startswith("."):
            path = self._directory / name
            if (path / "rootfs").is_dir():
                return _read_image(path)
        wanted = reference.removeprefix("sha256:")
        matches = [
            image for image in self.all() if image.id.removeprefix("sha256:").startswith(wanted)
        ]
        if len(wanted) >= 4 and len(matches) == 1:
            return matches[0]
        raise NotFound(f"No such image: {reference}")

    def for_container(self, image_id: str, reference: str) -> Image:
        # An update of the system changes ids; a service goes on with what is there now.
        return self.get(reference)

    async def mount(self, image: Image, user: str) -> None:
        """Nothing to do: the directories are part of the system."""

    def unmount(self, user: str) -> None:
        """Nothing to do."""

    def all(self) -> list[Image]:
        try:
            names = sorted(os.listdir(self._directory))
        except OSError:
            return []
        paths = [self._directory / name for name in names if not name.startswith(".")]
        return [_read_image(path) for path in paths if (path / "rootfs").is_dir()]


def _read_image(path: Path) -> Image:
    lower = (path / "rootfs",)
    definition = b""
    try:
        with open(path / "service.json", "rb") as stream:
            definition = stream.read(MAX_DEFINITION_BYTES)
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("cannot read the definition of image %s: %s, ignoring", path.name, error)
    # A name and what the image says about itself identify it; its files are part of the release.
    digest = sha256(path.name.encode() + b"\0" + definition).hexdigest()
    created_ns = path.stat().st_mtime_ns
    image_id, tags = f"sha256:{digest}", (f"{path.name}:latest",)
    plain = Image(id=image_id, name=path.name, lower=lower, created_ns=created_ns, tags=tags)
    if not definition:
        return plain
    try:
        service = parse_service(path.name, json.loads(definition))
    except (OrlopError, ValueError) as error:
        log.warning("the definition of image %s is wrong: %s, ignoring", path.name, error)
        return plain
    return Image(
        id=plain.id,
        name=plain.name,
        lower=lower,
        entrypoint=service.entrypoint or (),
        command=service.command,
        environment=service.environment,
        user=service.user,
        working_dir=service.working_dir,
        stop_signal=service.stop_signal,
        healthcheck=service.healthcheck,
        labels=service.labels,
        created_ns=created_ns,
        tags=tags,
    )


def sha256_hex(data: bytes) -> str:
    """The digest of *data*, which is small: it is computed at once."""
    digest: str = sha256(data).hexdigest()
    return digest


def check_reference(reference: str) -> str:
    """Refuse what can be no image reference before anybody looks for it.

    Raises:
        InvalidArgument: empty, too long, or with characters no reference has.
    """
    if not reference or len(reference) > 512 or not reference.isprintable() or " " in reference:
        raise InvalidArgument(f"invalid reference format: {reference[:80]!r}")
    return reference
