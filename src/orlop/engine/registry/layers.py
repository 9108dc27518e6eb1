"""Downloads an image's layers side by side, unpacking and hashing them on the way. Worker only.

All threads are started before the worker gives up its privileges, as none can be made later.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orlop.engine.registry.transfer import Download
from orlop.engine.store.compression import CorruptStream
from orlop.engine.store.layer_index import index_layer
from orlop.engine.store.spool import Blob, BlobWriter, Budget, HashThread
from orlop.lib.errors import InvalidArgument, OrlopError, ResourceExhausted
from orlop.wire.registry import progress
from orlop.wire.registry.reference import short_id
from orlop.wire.tar import TarError

if TYPE_CHECKING:
    from orlop.engine.registry.channel import Channel
    from orlop.engine.registry.session import Session
    from orlop.wire.registry.manifest import Descriptor

PARALLEL_DOWNLOADS = 3
"""dockerd's default; more only take turns on the same line and disk."""

PROGRESS_INTERVAL_S = 0.1
MAX_EXPANSION = 250
FREE_EXPANSION_BYTES = 4 << 30
"""A layer may unpack to so many times its size, and to this much in any case: real ones reach a
tenth of it, bombs a thousand times their size."""


@dataclass(slots=True)
class Layer:
    """One layer on its way. *result* is what the engine is told: see `store.worker`."""

    descriptor: Descriptor
    diff_id: str
    done: threading.Event = field(default_factory=threading.Event)
    result: dict[str, Any] | None = None

    @property
    def id(self) -> str:
        return short_id(self.descriptor.digest)


class _LayerBudget(Budget):
    """What one layer may take of what all may."""

    def __init__(self, all_layers: Budget, lock: threading.Lock, left_bytes: int) -> None:
        super().__init__(left_bytes)
        self._all = all_layers
        self._lock = lock

    def take(self, size: int) -> None:
        with self._lock:
            self._all.take(size)
        try:
            super().take(size)
        except ResourceExhausted:
            raise InvalidArgument(
                "failed to register layer: it unpacks to more than a layer of its size may"
            ) from None


class Downloads:
    """The threads of a worker. `start` them, then `run` one image after the other."""

    def __init__(self, channel: Channel, max_bytes: int) -> None:
        self._channel = channel
        self._budget = Budget(max_bytes)
        self._budget_lock = threading.Lock()
        self._queue: queue.Queue[tuple[Session, Layer]] = queue.Queue()
        self._hashing = [HashThread() for _ in range(PARALLEL_DOWNLOADS)]
        self._busy = 0
        self._count = 0
        self._failed = threading.Event()
        self._cause: OrlopError | None = None
        """Why all downloads are to end: the first failure, of whichever layer."""

    def start(self) -> None:
        """Make the threads; called while that is allowed."""
        for hashing in self._hashing:
            hashing.start()
            threading.Thread(target=self._work, args=(hashing,), daemon=True).start()

    def run(self, session: Session, layers: list[Layer]) -> None:
        """Bring all of *layers*; the engine has been told of each when this returns.

        Raises:
            OrlopError: of the first that failed.
        """
        self._failed.clear()
        self._cause = None
        for layer in layers:
            self._channel.progress(progress.action("Pulling fs layer", layer.id))
        for place, layer in enumerate(layers):
            if place >= PARALLEL_DOWNLOADS:
                self._channel.progress(progress.action("Waiting", layer.id))
            self._queue.put((session, layer))
        for layer in layers:
            layer.done.wait()
            if not self._failed.is_set():
                self._channel.progress(progress.action("Pull complete", layer.id))
        if self._cause is not None:
            raise self._cause

    def _work(self, hashing: HashThread) -> None:
        while True:
            session, layer = self._queue.get()
            try:
                if self._failed.is_set():
                    raise OrlopError("layer registration cancelled")
                self._fetch(session, layer, hashing)
            except OrlopError as error:
                self._fail(error)
            except OSError as error:
                text = (error.strerror or str(error)).lower()
                self._fail(ResourceExhausted(f"failed to register layer: {text}"))
            except MemoryError:
                text = "failed to register layer: it takes too much memory"
                self._fail(ResourceExhausted(text))
            except Exception as error:  # noqa: BLE001 - a thread must not die: others wait for it
                self._fail(OrlopError(f"failed to register layer: {error!r}"))
            finally:
                layer.done.set()

    def _fail(self, error: OrlopError) -> None:
        """End all downloads; *error* may be of one that was ended so."""
        with self._budget_lock:
            self._cause = self._cause or error
        self._failed.set()

    def _fetch(self, session: Session, layer: Layer, hashing: HashThread) -> None:
        """Download, check, index, and tell the engine, which stores it while others still come."""
        blob, resumed, problem = self._download(session, layer, hashing)
        if problem and resumed:
            # What was put together from pieces may be damaged where they meet: once more, whole.
            blob, _, problem = self._download(session, layer, hashing)
        if blob is None or problem:
            failed = f"filesystem layer verification failed for digest {layer.descriptor.digest}"
            raise OrlopError(f"{failed}: {problem}" if blob is None else failed)
        if blob.tar_digest != layer.diff_id:
            raise InvalidArgument("layers from manifest don't match image configuration")
        self._channel.progress(progress.action("Download complete", layer.id))
        size = layer.descriptor.size
        self._channel.progress(progress.progress("Extracting", layer.id, size, size))
        try:
            result = index_layer(blob, blob.tar_digest)
        except TarError as error:
            raise InvalidArgument(f"failed to register layer: {error}") from error
        layer.result = {
            **result,
            "blob_file": blob.path,
            "blob_digest": blob.digest,
            "blob_size": blob.size,
            "compression": blob.compression,
        }
        self._channel.send({"layer": layer.result})

    def _download(
        self, session: Session, layer: Layer, hashing: HashThread
    ) -> tuple[Blob | None, bool, str]:
        """The blob, whether it was put together from pieces, and what is wrong with it."""
        size = layer.descriptor.size
        most = size + max(FREE_EXPANSION_BYTES, size * MAX_EXPANSION)
        budget = _LayerBudget(self._budget, self._budget_lock, most)
        with self._budget_lock:
            self._count += 1
            name = f"layer-{self._count}"
        writer = BlobWriter(name, budget, hashing, keep_compressed=True)
        shown_s = 0.0

        def on_bytes(count: int) -> None:
            nonlocal shown_s
            if self._failed.is_set():
                raise OrlopError("layer registration cancelled")
            now_s = time.monotonic()
            if now_s - shown_s >= PROGRESS_INTERVAL_S or count == size:
                shown_s = now_s
                message = progress.progress("Downloading", layer.id, count, size)
                self._channel.progress(message)

        def on_wait(delay_s: float) -> None:
            seconds = max(1, round(delay_s))
            text = f"Retrying in {seconds} second{'s' if seconds != 1 else ''}"
            self._channel.progress(progress.action(text, layer.id))

        download = Download(
            session, layer.descriptor, writer.write, on_bytes=on_bytes, on_wait=on_wait
        )
        try:
            download.run()
            blob = writer.finish()
        except CorruptStream as error:
            return None, download.resumed, str(error)
        self._channel.progress(progress.action("Verifying Checksum", layer.id))
        if blob.digest != layer.descriptor.digest or blob.size != size:
            return blob, download.resumed, "digest or size differs"
        return blob, download.resumed, ""
