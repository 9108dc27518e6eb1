"""The images of a user's engine: layers, configurations and names, shared and counted.

One object owns the store of an engine. What is read (`get`, `all`, `find`) is in memory; what
changes goes to the disk first, in a thread, one change after the other under `lock`. New layers and
images come in through `engine.store.ingest`.

Nothing is deleted that an image, a container or an ingest under way needs: images are kept by their
names and containers, layers and blobs by images and by `pin`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.engine.removal import Trash
from orlop.engine.store import ingest
from orlop.engine.store.directory import References, StoreDirectory
from orlop.engine.store.image_view import to_image
from orlop.engine.store.mounts import DamagedIndex, LayerMounts
from orlop.lib import atomic_file
from orlop.lib.errors import (
    Internal,
    InvalidArgument,
    NotFound,
    OrlopError,
    ResourceExhausted,
)
from orlop.wire.registry.reference import Reference, is_digest, parse_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from orlop.engine.images import Image
    from orlop.engine.settings import EngineSettings
    from orlop.engine.store.records import ImageRecord, LayerRecord
    from orlop.lib.children import Children

log = logging.getLogger(__name__)

MIN_ID_DIGITS = 1
_HEX = frozenset("0123456789abcdef")


class LayeredImages:
    """An `engine.images.ImageStore` with all that changes one."""

    def __init__(self, settings: EngineSettings, path: Path, children: Children) -> None:
        self.directory = StoreDirectory(path)
        self.children = children
        self.lock = asyncio.Lock()
        self.images_in_use: Callable[[], Iterable[str]] = lambda: ()
        """Ids of images that containers were made from; set by the engine."""
        self.trash = Trash(self.directory.trash)
        self.mounts = LayerMounts(settings.run_dir / "layers", self.directory)
        self.images: dict[str, ImageRecord] = {}
        self.layers: dict[str, LayerRecord] = {}
        self.tags: dict[str, str] = {}
        self.digests: dict[str, str] = {}
        self.tagged_ns: dict[str, int] = {}
        self.pins: Counter[str] = Counter()
        self._views: dict[str, tuple[ImageRecord, dict[str, str], Image]] = {}
        """Of images as others see them; *tags* is another object after each change of a name."""

    # The engine calls these.

    def start(self) -> None:
        """Read what there is; remove what a crash left. Blocking, before anything else runs.

        Raises:
            OrlopError: the store's directory cannot be used.
        """
        try:
            self.directory.prepare()
            for name in list(self.directory.staging.iterdir()):
                self.directory.discard(name)
            self.layers = {record.diff_id: record for record in self.directory.read_layers()}
            for record in self.directory.read_images():
                self._take_in(record)
            references = self.directory.read_references()
            self.mounts.start()
        except OSError as error:
            raise OrlopError(f"cannot use the image store: {error}") from error
        self.tags = {k: v for k, v in references.tags.items() if v in self.images}
        self.digests = {k: v for k, v in references.digests.items() if v in self.images}
        self.tagged_ns = {k: v for k, v in references.tagged_ns.items() if k in self.images}

    def begin(self) -> None:
        """Containers are known now: delete what nothing needs, and empty the trash."""
        try:
            self.trash.start()
            for record in [record for record in self.images.values() if record.removed]:
                if record.id not in set(self.images_in_use()):
                    self.directory.remove_image(record)
                    del self.images[record.id]
            self._sweep_files()
        except OSError as error:
            log.warning("cannot clean up the image store: %s, ignoring", error)

    async def close(self) -> None:
        await self.trash.close()

    def get(self, reference: str) -> Image:
        """See `ImageStore`."""
        return self.view(self.find(reference))

    def all(self) -> list[Image]:
        """Newest first, as dockerd lists them."""
        records = [record for record in self.images.values() if not record.removed]
        records.sort(key=lambda record: record.created_ns, reverse=True)
        return [self.view(record) for record in records]

    def for_container(self, image_id: str, reference: str) -> Image:
        record = self.images.get(image_id)
        if record is None:
            raise NotFound(f"No such image: {image_id}")
        return self.view(record)

    async def mount(self, image: Image, user: str) -> None:
        layers = [self.layer(diff_id) for diff_id in image.layers]
        try:
            await self.mounts.mount(layers, user)
        except DamagedIndex as error:
            log.warning("%s, making it again", error)
            for layer in layers:
                await ingest.repair_index(self, layer)
            await self.mounts.mount([self.layer(diff_id) for diff_id in image.layers], user)

    def unmount(self, user: str) -> None:
        self.mounts.unmount(user)

    # Looking up.

    def find(self, reference: str) -> ImageRecord:
        """The image that *reference* names: a name, a digest, an id or the beginning of one.

        Raises:
            NotFound: in dockerd's words; InvalidArgument: it cannot be a reference at all.
        """
        record = self.find_by_id(reference)
        if record is not None:
            return record
        wanted = reference.removeprefix("sha256:")
        named: Reference | None = None
        if not is_digest(reference) and not _is_id(reference):
            named = parse_reference(reference).with_default_tag()
            found = self.lookup(named)
            if found is not None:
                return found
        if 1 <= len(wanted) <= 64 and not set(wanted) - _HEX:
            matches = [
                record
                for record in self.images.values()
                if record.hex.startswith(wanted) and not record.removed
            ]
            if len(matches) == 1:
                return matches[0]
        raise NotFound(f"No such image: {named.familiar if named else reference}")

    def find_by_id(self, text: str) -> ImageRecord | None:
        """The image with the whole id *text*, `sha256:` or not."""
        record = self.images.get(f"sha256:{text.removeprefix('sha256:')}")
        return None if record is None or record.removed else record

    def lookup(self, reference: Reference) -> ImageRecord | None:
        """The image that has exactly this name; a digest counts more than a tag."""
        if reference.digest:
            key = f"{reference.name}@{reference.digest}"
            image_id = self.digests.get(key)
        else:
            image_id = self.tags.get(str(reference))
        return self.images.get(image_id) if image_id else None

    def names_of(self, image_id: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Its tags and digests as people write them."""
        tags = sorted(key for key, value in self.tags.items() if value == image_id)
        digests = sorted(key for key, value in self.digests.items() if value == image_id)
        return tuple(map(_familiar, tags)), tuple(map(_familiar, digests))

    def view(self, record: ImageRecord) -> Image:
        """*record* as the rest of the engine sees it; made once until it or a name changes."""
        known = self._views.get(record.id)
        if known is not None and known[0] is record and known[1] is self.tags:
            return known[2]
        tags, digests = self.names_of(record.id)
        image = to_image(
            record,
            lower=self.mounts.lower(record.layers),
            tags=tags,
            digests=digests,
            size_bytes=self.size_of(record),
            tagged_ns=self.tagged_ns.get(record.id, 0),
        )
        self._views[record.id] = (record, self.tags, image)
        return image

    def size_of(self, record: ImageRecord) -> int:
        """Bytes in the files of all its layers, as docker counts."""
        return sum(self.layer_size(diff_id) for diff_id in record.layers)

    def layer_size(self, diff_id: str) -> int:
        """Bytes in the layer's files; 0 for one that is missing."""
        record = self.layers.get(diff_id)
        return 0 if record is None else record.content_bytes

    def layer(self, diff_id: str) -> LayerRecord:
        """Raises: Internal: it is missing, which damage to the store can bring about."""
        record = self.layers.get(diff_id)
        if record is None:
            raise Internal(f"layer {diff_id} is missing from the image store or damaged")
        return record

    def blob_path(self, digest: str) -> Path:
        """The file with the blob *digest*: kept as it came, or the layer that is uncompressed."""
        if digest in self.layers:
            return self.directory.layer(digest) / "layer.tar"
        return self.directory.blob(digest)

    # Changing.

    async def add_image(self, record: ImageRecord, references: Iterable[Reference]) -> None:
        """Make an image known whose layers and blobs are there, and name it. With `lock` held.

        Raises:
            OSError: nothing is changed then.
        """
        known = self.images.get(record.id)
        if known is not None:
            record = replace(
                known,
                removed=False,
                manifest=record.manifest or known.manifest,
                parent=known.parent or record.parent,
            )
        if record != known:
            await asyncio.to_thread(self.directory.write_image, record)
        self._take_in(record)
        await self.name_image(record.id, references)

    async def name_image(self, image_id: str, references: Iterable[Reference]) -> None:
        """Let *references* mean the image; with `lock` held."""
        tags, digests = dict(self.tags), dict(self.digests)
        named = False
        for reference in references:
            if reference.digest:
                digests[f"{reference.name}@{reference.digest}"] = image_id
            if reference.tag:
                tags[f"{reference.name}:{reference.tag}"] = image_id
            named = True
        if not named:
            return
        await self.write_references(tags, digests, {**self.tagged_ns, image_id: time.time_ns()})

    async def write_references(
        self, tags: dict[str, str], digests: dict[str, str], tagged_ns: dict[str, int]
    ) -> None:
        """Replace all names, on disk and then here; with `lock` held.

        Raises:
            ResourceExhausted: the disk is full or broken; nothing is changed then.
        """
        references = References(tags, digests, tagged_ns)
        try:
            await asyncio.to_thread(self.directory.write_references, references)
        except OSError as error:
            text = f"cannot write the names of images: {error.strerror}"
            raise ResourceExhausted(text) from error
        self.tags, self.digests, self.tagged_ns = tags, digests, tagged_ns

    async def tag(self, image_id: str, reference: Reference) -> None:
        """Let *reference*, which has a tag, mean the image.

        Raises:
            NotFound: it is no more. InvalidArgument: *reference* has a digest.
        """
        if reference.digest:
            raise InvalidArgument("refusing to create a tag with a digest reference")
        async with self.lock:
            if image_id not in self.images:
                raise NotFound(f"No such image: {image_id}")
            await self.name_image(image_id, [reference.with_default_tag()])

    async def remove_record(self, record: ImageRecord) -> list[str]:
        """Delete the image itself, which has no names any more; diff ids that went with it.

        With `lock` held. A container's image is only marked: its layers stay until the container
        is gone.
        """
        if record.id in set(self.images_in_use()):
            marked = replace(record, removed=True)
            await asyncio.to_thread(self.directory.write_image, marked)
            self.images[record.id] = marked
            return []
        # Nobody makes a container of it meanwhile.
        del self.images[record.id]
        try:
            await asyncio.to_thread(self.directory.remove_image, record)
        except OSError:
            self.images[record.id] = record
            raise
        self._views.pop(record.id, None)
        self.tagged_ns.pop(record.id, None)
        return await self.collect()

    async def collect(self) -> list[str]:
        """Delete layers and blobs that nothing needs; diff ids of the layers. With `lock` held."""
        in_use = set(self.images_in_use())
        for record in [record for record in self.images.values() if record.removed]:
            if record.id not in in_use:
                await asyncio.to_thread(self.directory.remove_image, record)
                self.images.pop(record.id, None)
        needed = self._needed()
        gone = [diff_id for diff_id in self.layers if diff_id not in needed]
        for diff_id in gone:
            # From here to the end of the loop's body nothing is awaited: no ingest can pin it.
            del self.layers[diff_id]
            self.mounts.forget(diff_id)
            with contextlib.suppress(OSError):
                self.directory.discard(self.directory.layer(diff_id))
        self._discard_blobs()
        self.trash.start()
        return gone

    def container_removed(self, image_id: str) -> bool:
        """Whether the image may go now that one of its containers has: `clean_up` then."""
        record = self.images.get(image_id)
        return record is not None and record.removed

    async def clean_up(self) -> None:
        """`collect`, by itself."""
        async with self.lock:
            await self.collect()

    def ingest(self) -> contextlib.AbstractAsyncContextManager[ingest.Ingest]:
        """Bring new layers and images in: see `engine.store.ingest`."""
        return ingest.begin(self)

    def _take_in(self, record: ImageRecord) -> None:
        self.images[record.id] = record

    def _needed(self) -> set[str]:
        """Digests of layers (diff ids) and blobs that must stay."""
        needed = set(self.pins)
        for record in self.images.values():
            needed.add(record.id)
            needed.update(record.layers)
            if record.manifest is not None:
                needed.add(record.manifest.digest)
                needed.update(blob.digest for blob in record.manifest.layers)
        return needed

    def _discard_blobs(self, *, starting: bool = False) -> None:
        """What no image needs; what is still being written only when nobody can be writing."""
        if self.directory.unreadable_images:
            return
        needed = self._needed()
        for path in self.directory.blobs.iterdir():
            if not starting and path.name.startswith(atomic_file.TEMPORARY_PREFIX):
                continue
            if f"sha256:{path.name}" not in needed:
                with contextlib.suppress(OSError):
                    self.directory.discard(path)

    def _sweep_files(self) -> None:
        if self.directory.unreadable_images:
            log.warning("the record of an image is damaged: layers that nothing needs are kept")
            return
        needed = self._needed()
        for path in self.directory.layers.iterdir():
            if f"sha256:{path.name}" not in needed:
                self.directory.discard(path)
                self.layers.pop(f"sha256:{path.name}", None)
        self._discard_blobs(starting=True)


def _is_id(text: str) -> bool:
    return len(text) == 64 and not set(text) - _HEX


def _familiar(reference: str) -> str:
    return parse_reference(reference).familiar
