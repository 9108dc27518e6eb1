"""Whether the images of a store are what they were: all of it is read, one file after the other.

The bytes are the affair of a worker without privileges. What was read leaves the memory again.
`engine.store.check` does the same for an engine that does not run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orlop.engine.store import ingest
from orlop.engine.store.directory import TAR
from orlop.engine.store.mounts import DamagedIndex, check_index
from orlop.lib.errors import OrlopError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from orlop.engine.store.layered import LayeredImages
    from orlop.engine.store.records import ImageRecord

log = logging.getLogger(__name__)

SMALL_BYTES = 256 << 10
"""Up to this a file is read without a worker, which takes longer to start: configurations."""

LOOK_S = 0.5
TIMEOUT_S = 6 * 3600.0


@dataclass(slots=True)
class Damage:
    """What is wrong, in words, by digest. An index can be made again from its layer."""

    layers: dict[str, str] = field(default_factory=dict)
    indexes: dict[str, str] = field(default_factory=dict)
    blobs: dict[str, str] = field(default_factory=dict)

    def of(self, record: ImageRecord) -> str:
        """What is wrong with an image; empty if nothing is."""
        for kind in (self.layers, self.indexes):
            for diff_id in record.layers:
                if diff_id in kind:
                    return kind[diff_id]
        return next((self.blobs[d] for d in _blobs(record) if d in self.blobs), "")


async def verify(store: LayeredImages, told: Callable[[int, int], None]) -> Damage:
    """Look at everything that images of *store* need; *told* has the bytes that are done, of all.

    Raises:
        OrlopError: no worker can be had.
    """
    images = [record for record in store.images.values() if not record.removed]
    layers = list(dict.fromkeys(diff_id for record in images for diff_id in record.layers))
    blobs = [
        digest
        for digest in dict.fromkeys(digest for record in images for digest in _blobs(record))
        if digest not in layers
    ]
    paths = {diff_id: store.directory.layer(diff_id) / TAR for diff_id in layers}
    paths |= {digest: store.directory.blob(digest) for digest in blobs}
    sizes = await asyncio.to_thread(_sizes, paths)
    found, done, of = Damage(), 0, sum(sizes.values())
    async with store.ingest() as session, session.staging() as directory:
        for digest in paths:
            session.pin(digest)  # nobody deletes it meanwhile
        for digest, path in paths.items():
            told(done, of)
            kind, what = ("layers", "layer") if digest in layers else ("blobs", "blob")

            def tell(at: int, before: int = done) -> None:
                told(before + at, of)

            problem = await _problem(store, directory, path, digest, tell)
            if problem:
                getattr(found, kind)[digest] = f"{what} {digest[7:19]} {problem}"
            elif digest in store.layers and digest in layers:
                await _look_at_index(store, digest, found)
            done += sizes[digest]
    told(done, of)
    return found


async def _look_at_index(store: LayeredImages, diff_id: str, found: Damage) -> None:
    try:
        await asyncio.to_thread(check_index, store.directory.layer(diff_id), store.layers[diff_id])
    except DamagedIndex:
        found.indexes[diff_id] = f"the index of layer {diff_id[7:19]} is damaged"


async def _problem(
    store: LayeredImages, directory: Path, path: Path, digest: str, tell: Callable[[int], None]
) -> str:
    """What is wrong with the file *path*, which is to have *digest*."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    try:
        # From the disk, and not from what is in memory of it.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        if os.fstat(descriptor).st_size <= SMALL_BYTES:
            found = await asyncio.to_thread(_digest, descriptor)
        else:
            async with _watched(descriptor, tell):
                answer = await ingest.run_store_worker(
                    store, directory, "digest", {}, source=descriptor, timeout_s=TIMEOUT_S
                )
            found = answer["digest"]
    except OrlopError as error:
        return f"cannot be read: {error}"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    finally:
        os.close(descriptor)
    return "" if found == digest else "is damaged"


def _digest(descriptor: int) -> str:
    """Of a small file. Raises OSError: it cannot be read."""
    from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]

    return f"sha256:{sha256(os.read(descriptor, SMALL_BYTES)).hexdigest()}"


@contextlib.asynccontextmanager
async def _watched(descriptor: int, tell: Callable[[int], None]) -> AsyncIterator[None]:
    """The worker shares the place in the file with this process, which says how far it is."""

    async def watch() -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            forget()

    def forget() -> None:
        at = os.lseek(descriptor, 0, os.SEEK_CUR)
        os.posix_fadvise(descriptor, 0, at, os.POSIX_FADV_DONTNEED)
        tell(at)

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
        forget()


def _sizes(paths: dict[str, Path]) -> dict[str, int]:
    sizes = dict.fromkeys(paths, 0)
    for digest, path in paths.items():
        with contextlib.suppress(OSError):
            sizes[digest] = path.stat().st_size
    return sizes


def _blobs(record: ImageRecord) -> list[str]:
    if record.manifest is None:
        return [record.id]
    return [record.id, record.manifest.digest, *(blob.digest for blob in record.manifest.layers)]


async def mend_indexes(store: LayeredImages, found: Damage) -> None:
    """Make indexes again; *found* keeps those that cannot be, on a full disk for example."""
    for diff_id in [*found.indexes]:
        try:
            await ingest.repair_index(store, store.layer(diff_id))
        except (OrlopError, OSError) as error:
            log.warning("cannot make the index of layer %s again: %s", diff_id[7:19], error)
        else:
            del found.indexes[diff_id]


@contextlib.asynccontextmanager
async def replaced(store: LayeredImages, record: ImageRecord, found: Damage) -> AsyncIterator[None]:
    """In the block what is damaged of an image is brought anew: until then it is not there. A layer
    that the block has not brought is as it was."""
    layers = {
        d: store.layers.pop(d) for d in record.layers if d in found.layers and d in store.layers
    }
    try:
        for digest in _blobs(record):
            if digest in found.blobs:
                store.directory.discard(store.directory.blob(digest))
        yield
    finally:
        for diff_id, layer in layers.items():
            store.layers.setdefault(diff_id, layer)
            store.mounts.forget(diff_id)  # the next container that starts has the new one
