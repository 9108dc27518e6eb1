"""How layers and images get into the store. Used by load, import, pull, build and commit alike::

    async with store.ingest() as session:
        # Layers, in any order and at the same time. Compressed or not, from a file or a pipe.
        for descriptor in manifest.layers:
            layer = await session.reuse(diff_id)              # there already: nothing to fetch
            layer = layer or await session.add_layer(fd, digest=descriptor.digest,
                                                     media_type=descriptor.media_type)
        # Then the image: its configuration's bytes, and its manifest's if it came with one.
        image_id = await session.add_image(config_bytes, manifest=manifest_bytes,
                                           references=[reference])

What the bytes are is found out by a worker without privileges: it unpacks, hashes and indexes a
layer in a staging directory of its own, and the engine takes over files and results. A layer is in
the store, whole and synced, when `add_layer` returns, and stays at least as long as the session; an
image, with all its names, when `add_image` returns. After a failure or a crash at any point the
store has what it had before, and the session's layers are gone unless an image needs them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import platform
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orlop.engine.store.byte_input import ByteInput
from orlop.engine.store.records import (
    ImageRecord,
    LayerRecord,
    ManifestRecord,
    layer_from,
    manifest_from,
)
from orlop.engine.tasks import thread_to_its_end
from orlop.engine.worker_process import start_worker
from orlop.lib.errors import Internal, InvalidArgument, OrlopError, ResourceExhausted
from orlop.wire.registry.platform import host_platform

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from orlop.engine.store.layered import LayeredImages
    from orlop.wire.registry.reference import Reference

log = logging.getLogger(__name__)

TIMEOUT_S = 6 * 3600.0
"""For one blob or archive: as long as the slowest sender may take."""

DOCUMENT_TIMEOUT_S = 60.0

STORED_AT_ONCE = 3
"""Layers of an archive: some threads are left for others."""

RESERVE_BYTES = 64 << 20
"""Disk left alone, so that a full store does not stop running containers."""


@dataclass(frozen=True, slots=True)
class AddedLayer:
    """*blob* is what was read: for a compressed layer another digest and size than the tar's."""

    layer: LayerRecord
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """*tags* as the archive has them; the image is in the store without them."""

    id: str
    layers: tuple[LayerRecord, ...]
    new_layers: frozenset[str]
    tags: tuple[str, ...]


class Ingest:
    """One bringing-in. Made by `LayeredImages.ingest`."""

    def __init__(self, store: LayeredImages) -> None:
        self._store = store
        self._pinned: list[str] = []

    def pin(self, digest: str) -> None:
        """Keep a layer (by diff id) or blob until the session ends."""
        self._store.pins[digest] += 1
        self._pinned.append(digest)

    def unpin_all(self) -> None:
        for digest in self._pinned:
            self._store.pins[digest] -= 1
            if not self._store.pins[digest]:
                del self._store.pins[digest]
        self._pinned.clear()

    def reuse(self, diff_id: str) -> LayerRecord | None:
        """The layer if the store has it; it stays for this session then."""
        layer = self._store.layers.get(diff_id)
        if layer is not None:
            self.pin(diff_id)
        return layer

    async def add_layer(
        self,
        source: int | ByteInput,
        *,
        digest: str = "",
        diff_id: str = "",
        keep_blob: bool = True,
    ) -> AddedLayer:
        """Read a layer from *source*, a descriptor or more than that, to its end and store it.

        *digest* and *diff_id*, where known, are what the bytes and the unpacked tar must hash to.
        A compressed layer's own bytes are kept too, unless not *keep_blob*.

        Raises:
            InvalidArgument: it is no layer, damaged, or has another digest.
            ResourceExhausted: it is too large for the disk or a limit.
        """
        job = {"digest": digest, "diff_id": diff_id}
        async with self.staging() as directory:
            facts = await self._work(directory, "layer", job, source, TIMEOUT_S)
            return await self.take_layer(directory, facts, keep_blob=keep_blob)

    async def take_layer(
        self, directory: Path, facts: Mapping[str, Any], *, keep_blob: bool = True
    ) -> AddedLayer:
        """Store a layer that a worker made in *directory*, from `staging`.

        *facts* are what the store's worker answers to `layer`; others that make layers do too.

        Raises:
            ResourceExhausted: no room.
        """
        layer = await self._store_layer(directory, facts)
        if keep_blob and facts["compression"]:
            blob_digest = str(facts["blob_digest"])
            self.pin(blob_digest)
            with _needs_room():
                await thread_to_its_end(
                    self._store.directory.add_blob, directory, str(facts["blob_file"]), blob_digest
                )
        return AddedLayer(layer, str(facts["blob_digest"]), int(facts["blob_size"]))

    async def add_image(
        self,
        config: bytes,
        *,
        manifest: bytes = b"",
        media_type: str = "",
        references: Sequence[Reference] = (),
        parent: str = "",
    ) -> str:
        """Store an image whose layers are there, with the names *references*; its id.

        Raises:
            InvalidArgument: a document is none, or does not fit the layers.
        """
        async with self.staging() as directory:
            with _needs_room():
                await asyncio.to_thread(_write, directory, {"config": config, "manifest": manifest})
            job = {
                "config": "config",
                "manifest": "manifest" if manifest else "",
                "media_type": media_type,
            }
            facts = await self._work(directory, "image", job, None, DOCUMENT_TIMEOUT_S)
        found = facts.get("manifest")
        described = manifest_from(found) if found else None
        if found and found["config"] != facts["id"]:
            raise InvalidArgument("the manifest belongs to another image configuration")
        record = ImageRecord(
            id=str(facts["id"]),
            layers=tuple(facts["layers"]),
            config=facts["config"],
            manifest=described,
            parent=parent,
            added_ns=time.time_ns(),
        )
        self.pin(record.id)
        directory_ = self._store.directory
        with _needs_room():
            await asyncio.to_thread(directory_.write_blob, config, record.id)
            if described is not None:
                self.pin(described.digest)
                await asyncio.to_thread(directory_.write_blob, manifest, described.digest)
        await self._commit(record, references)
        return record.id

    async def load(self, source: int | ByteInput) -> list[LoadedImage]:
        """Store the images of the archive that is read from *source*; their names are returned.

        Raises:
            InvalidArgument, ResourceExhausted: as `add_layer`.
        """
        machine = host_platform(platform.machine())
        job = {"platform": f"{machine.os}/{machine.architecture}"}
        async with self.staging() as directory:
            result = await self._work(directory, "load", job, source, TIMEOUT_S)
            wanted = [f for f in result["layers"] if self.reuse(str(f["diff_id"])) is None]
            await self._store_layers(directory, wanted)
            new = {str(facts["diff_id"]) for facts in wanted}
            with _needs_room():
                return [await self._loaded(directory, item, new) for item in result["images"]]

    async def _loaded(self, directory: Path, item: Mapping[str, Any], new: set[str]) -> LoadedImage:
        described: ManifestRecord | None = None
        found, blobs = item.get("manifest"), item.get("blobs") or []
        store = self._store.directory
        image_id = str(item["id"])
        self.pin(image_id)
        if not store.blob(image_id).exists():
            await asyncio.to_thread(store.add_blob, directory, str(item["config_file"]), image_id)
        if found:
            layers = [[blob["digest"], blob["size"], blob["media_type"]] for blob in blobs]
            described = manifest_from({**found, "layers": layers})
            for blob in [*blobs, found]:
                await self._keep_blob(directory, blob)
        record = ImageRecord(
            id=image_id,
            layers=tuple(item["layers"]),
            config=item["config"],
            manifest=described,
            added_ns=time.time_ns(),
        )
        await self._commit(record, ())
        layers_ = tuple(self._store.layer(diff_id) for diff_id in record.layers)
        return LoadedImage(record.id, layers_, frozenset(new), tuple(map(str, item["tags"])))

    async def _keep_blob(self, directory: Path, blob: Mapping[str, Any]) -> None:
        digest = str(blob["digest"])
        self.pin(digest)
        # An uncompressed layer is its own blob.
        if digest in self._store.layers:
            return
        if not self._store.directory.has_blob(digest, int(blob["size"])):
            store = self._store.directory
            await asyncio.to_thread(store.add_blob, directory, str(blob["file"]), digest)

    async def _commit(self, record: ImageRecord, references: Iterable[Reference]) -> None:
        for diff_id in record.layers:
            self._store.layer(diff_id)
        with _needs_room():
            async with self._store.lock:
                await self._store.add_image(record, references)

    async def _store_layer(self, directory: Path, facts: Mapping[str, Any]) -> LayerRecord:
        record = layer_from(facts)
        known = self.reuse(record.diff_id)
        if known is not None:
            return known
        self.pin(record.diff_id)
        with _needs_room():
            await thread_to_its_end(self._store.directory.add_layer, directory, facts, record)
        # Two sessions may have brought the same layer: both are whole, one is kept.
        return self._store.layers.setdefault(record.diff_id, record)

    async def _store_layers(self, directory: Path, found: Sequence[Mapping[str, Any]]) -> None:
        """Several at a time: they wait for the same disk, which syncs for all of them at once."""
        turns = asyncio.Semaphore(STORED_AT_ONCE)

        async def store(facts: Mapping[str, Any]) -> None:
            async with turns:
                await self._store_layer(directory, facts)

        outcomes = await asyncio.gather(*map(store, found), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    @contextlib.asynccontextmanager
    async def staging(self) -> AsyncIterator[Path]:
        """A directory for one worker, deleted afterwards."""
        store = self._store.directory
        path = store.staging / os.urandom(8).hex()
        with _needs_room():
            path.mkdir(mode=0o700)
        try:
            yield path
        finally:
            with contextlib.suppress(OSError):
                store.discard(path)
            self._store.trash.start()

    async def _work(
        self,
        directory: Path,
        command: str,
        job: Mapping[str, object],
        source: int | ByteInput | None,
        timeout_s: float,
    ) -> dict[str, Any]:
        return await run_store_worker(
            self._store, directory, command, job, source=source, timeout_s=timeout_s
        )


async def run_store_worker(
    store: LayeredImages,
    directory: Path,
    command: str,
    job: Mapping[str, object],
    *,
    source: int | ByteInput | None = None,
    timeout_s: float = DOCUMENT_TIMEOUT_S,
) -> dict[str, Any]:
    """Run one command of `engine.store.worker` in *directory*; its answer.

    Raises:
        OrlopError: what it says.
    """
    max_bytes = room_bytes(directory)
    if isinstance(source, int):
        source = ByteInput(source)
    text = json.dumps({**job, "max_bytes": max_bytes, **_framing(source)})
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    buffered = -1
    try:
        fds = {3: descriptor}
        if source is not None:
            fds[0] = source.descriptor
            if source.buffered:
                buffered = fds[4] = os.memfd_create("body", os.MFD_CLOEXEC)
                os.write(buffered, source.buffered)
        async with start_worker(
            store.children, "store", command, text, fds=fds, timeout_s=timeout_s
        ) as worker:
            return await worker.result()
    finally:
        os.close(descriptor)
        if buffered >= 0:
            os.close(buffered)


def room_bytes(directory: Path) -> int:
    """What may still be written there, but for a reserve.

    That is of free memory where the file system has no size of its own, as ramfs.
    """
    room = os.statvfs(directory)
    free = room.f_bavail * room.f_frsize if room.f_blocks else _free_memory_bytes()
    return max(free - RESERVE_BYTES, 0)


def _free_memory_bytes() -> int:
    with open("/proc/meminfo", "rb") as stream:
        for line in stream:
            if line.startswith(b"MemAvailable:"):
                return int(line.split()[1]) << 10
    return 0


def _framing(source: ByteInput | None) -> dict[str, object]:
    if source is None:
        return {}
    return {
        "framing": source.framing,
        "left": source.left,
        "buffered": bool(source.buffered),
    }


@contextlib.asynccontextmanager
async def begin(store: LayeredImages) -> AsyncIterator[Ingest]:
    """See `LayeredImages.ingest`."""
    session = Ingest(store)
    try:
        yield session
    finally:
        session.unpin_all()
        async with store.lock:
            await store.collect()


async def repair_index(store: LayeredImages, layer: LayerRecord) -> None:
    """Make the index of *layer* again if it is damaged, from the layer, which is checked first.

    Raises:
        Internal: the layer itself is damaged.
    """
    from orlop.engine.store import repair

    await repair.repair_index(store, layer)


def _write(directory: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        with open(directory / name, "xb") as stream:
            os.fchmod(stream.fileno(), 0o644)
            stream.write(data)


@contextlib.contextmanager
def _needs_room() -> Iterator[None]:
    """Raises: ResourceExhausted instead of an OSError, which is of the disk."""
    try:
        yield
    except OSError as error:
        raise ResourceExhausted(f"cannot write to the image store: {error.strerror}") from error


__all__ = ["AddedLayer", "Ingest", "Internal", "LoadedImage", "OrlopError", "begin"]
