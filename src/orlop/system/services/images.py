"""Images of services that are not part of the system: fetched once, kept on the state partition.

The store is the system engine's own; the user's engine has another, and nothing that is done there
reaches this one. What registries, servers and archives say is read by workers without privileges.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from orlop.engine import image_stores
from orlop.engine.images import DirectoryImages
from orlop.lib.errors import InvalidArgument, NotFound, OrlopError, Unavailable
from orlop.system.config import files
from orlop.system.config.configuration import as_map
from orlop.system.services import definitions
from orlop.system.services.overlay import Overlay, is_reference
from orlop.wire.compose_model import Mount, MountKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from orlop.engine.container.config import ContainerConfig
    from orlop.engine.registry.service import RegistryService
    from orlop.engine.registry.settings import Registries
    from orlop.engine.store.layered import LayeredImages
    from orlop.system.boot import Boot
    from orlop.wire.registry.reference import Reference

log = logging.getLogger(__name__)

_UNFIT = re.compile(r"[^a-zA-Z0-9_.-]+")
"""What the name of a volume has not."""

MAX_FILE_BYTES = 1 << 20
"""Of a definition or an index: as long as a document may be."""

LOOPBACK = ("127.0.0.1", "::1", "localhost")
MAX_ARCHIVE_BYTES = 8 << 30
AT_ONCE = 2
"""Images fetched at a time: the workers take memory, and the line is the same."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A small file: its text and the digest that was checked; *image* if it is an image instead."""

    text: str
    digest: str
    image: bool = False


class ServiceImages:
    """For the machine of *boot*."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._built_in = DirectoryImages(definitions.IMAGES)
        build = boot.machine.release.get("build", "")
        self.overlay: Overlay = Overlay(self.is_there, build)

    def is_built_in(self, image: str) -> bool:
        """Whether *image* is part of the system."""
        try:
            self._built_in.get(image)
        except NotFound:
            return False
        return True

    def is_there(self, image: str) -> bool:
        """Whether a container can be made of *image* now: a boot finds a damaged layer gone."""
        try:
            found = self._boot.engine.images.get(image)
        except OrlopError:
            return False
        store = self._boot.engine.layered
        return store is None or all(diff_id in store.layers for diff_id in found.layers)

    def id_of(self, image: str) -> str:
        """The digest that *image* stands for here; empty if it is not there."""
        try:
            return self._boot.engine.images.get(image).id
        except OrlopError:
            return ""

    def adapt(self, config: ContainerConfig) -> ContainerConfig:
        """*config* for an image that knows nothing of this system, if it is made of such a one.

        It gets the machine's names as in any engine, and for each volume that its image wants one
        that is the service's own, and is there again at the next boot.
        """
        if self.is_built_in(config.image):
            return config
        taken = {mount.target for mount in config.mounts}
        wanted = self._boot.engine.images.get(config.image).volumes
        volumes = (
            Mount(MountKind.VOLUME, path, _UNFIT.sub("-", f"{config.name}{path}").rstrip("-"))
            for path in wanted
            if path not in taken
        )
        return replace(config, manage_etc=True, mounts=(*config.mounts, *volumes))

    async def provide(self, image: str) -> None:
        """Fetch *image* unless it is there.

        Raises:
            OrlopError: it cannot be had.
        """
        async with self._turns:
            if not self.is_there(image):
                await self._pull(image)

    async def pull(self, image: str) -> bool:
        """Fetch what *image* is by now; whether that is another one than before.

        Raises:
            OrlopError: it cannot be had.
        """
        before = self.id_of(image)
        async with self._turns:
            await self._pull(image)
        if self.id_of(image) == before:
            return False
        store = self._boot.engine.layered
        if store is not None and not any(store.names_of(before)):
            await self.discard(before)
        return True

    async def _pull(self, image: str) -> None:
        from orlop.wire.registry.auth_config import AuthConfig

        async def show(_: object) -> None:
            """Nobody looks."""

        log.info("fetching the image %s", image)
        await self._registry().pull(_reference(image), "", AuthConfig(), show)

    async def load(self, archive: Path, image: str, digest: str) -> None:
        """Take *image* out of an archive that a catalogue has, whose manifest has *digest*.

        Raises:
            InvalidArgument: it is damaged, or another one.
        """
        descriptor = os.open(archive, os.O_RDONLY | os.O_CLOEXEC)
        store = self._store()
        try:
            async with store.ingest() as ingest:
                for found in await ingest.load(descriptor):
                    manifest = store.images[found.id].manifest
                    if digest in (found.id, None if manifest is None else manifest.digest):
                        async with store.lock:
                            await store.name_image(found.id, [_reference(image)])
                        return
        finally:
            os.close(descriptor)
        raise InvalidArgument(f"{archive.name} holds no image with the digest {digest}")

    async def file(self, url: str, digest: str = "") -> Fetched:
        """The text at *url*.

        Raises:
            OrlopError: it cannot be had, is no text, or has another digest.
            InvalidArgument: anybody on the way could change it.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidArgument(f"{url}: no address of a file on a web server")
        if parts.scheme == "http" and not digest and parts.hostname not in LOOPBACK:
            raise InvalidArgument(
                f"{url}: what comes without TLS must have a digest (--digest sha256:...)"
            )
        async with self.download(url, digest, MAX_FILE_BYTES) as (path, found):
            return Fetched(await asyncio.to_thread(_text, path, url), found)

    async def artifact(self, reference: str) -> Fetched:
        """The text that an artifact in a registry holds, if it is no image.

        Raises:
            OrlopError: it cannot be had.
        """
        async with self._store().ingest() as ingest, ingest.staging() as directory:
            named = _reference(reference)
            found = await self._registry().artifact(named, MAX_FILE_BYTES, directory)
            if found["image"]:
                return Fetched("", str(found["manifest"]), image=True)
            path = directory / str(found["name"])
            return Fetched(await asyncio.to_thread(_text, path, reference), str(found["manifest"]))

    async def archive(self, url: str, image: str, digest: str) -> None:
        """Download the archive at *url* and `load` it.

        Raises:
            OrlopError: it cannot be had, or is not what it should be.
        """
        async with self.download(url, "", MAX_ARCHIVE_BYTES) as (path, _):
            await self.load(path, image, digest)

    @contextlib.asynccontextmanager
    async def download(
        self, url: str, digest: str, max_bytes: int
    ) -> AsyncIterator[tuple[Path, str]]:
        """The file at *url*, while the block runs, and its digest.

        Raises:
            OrlopError: it cannot be had, is longer, or has another digest than *digest*, if given.
        """
        async with (
            self._turns,
            self._store().ingest() as ingest,
            ingest.staging() as directory,
        ):
            found = await self._registry().fetch(url, digest, max_bytes, directory)
            yield directory / str(found["name"]), str(found["digest"])

    async def discard(self, image_id: str) -> None:
        """Delete an image that no service has any more; its container may be there still.

        Raises:
            OSError, OrlopError: it cannot be.
        """
        store = self._boot.engine.layered
        record = None if store is None else store.images.get(image_id)
        if store is None or record is None or record.removed:
            return
        async with store.lock:
            tags = {key: value for key, value in store.tags.items() if value != image_id}
            digests = {key: value for key, value in store.digests.items() if value != image_id}
            await store.write_references(tags, digests, store.tagged_ns)
            await store.remove_record(record)

    async def keep_of_releases(self, references: Iterable[str]) -> None:
        """Discard images that came with releases, but for *references*.

        Raises:
            OSError, OrlopError: one cannot be.
        """
        store = self._boot.engine.layered
        if store is None:
            return
        kept = {self.id_of(image) for image in references}
        used = {self.id_of(d.image) for d in self._boot.config.current.services.values()}
        for image in store.all():
            from_release = any(is_reference(tag) for tag in image.tags)
            if from_release and image.id not in kept | used:
                await self.discard(image.id)

    def _store(self) -> LayeredImages:
        engine = self._boot.engine
        image_stores.open_late(engine, make=True)
        if engine.layered is None:
            raise Unavailable("there is no place for images of services")
        return engine.layered

    def _registry(self) -> RegistryService:
        from orlop.engine.registry.service import RegistryService

        return RegistryService(self._boot.children, self._store(), self.registries())

    def registries(self) -> Registries:
        """As the user's engine reaches them, by the same part of the configuration."""
        from orlop.engine import settings_file
        from orlop.engine.registry.settings import Registries
        from orlop.wire.docker.fields import Object

        section = as_map(self._boot.config.current.get("orlop.engine"))
        found = settings_file.merge(Object(section), Registries())
        name = quote(files.AUTHORITIES, safe="")
        trusted = f"{files.DIRECTORY}/engine/{name}"
        return replace(found, authorities=trusted) if os.path.exists(trusted) else found


def _reference(image: str) -> Reference:
    from orlop.wire.registry.reference import parse_reference

    return parse_reference(image).with_default_tag()


def _text(path: Path, what: str) -> str:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError:
        raise InvalidArgument(f"{what}: not a text in UTF-8") from None
