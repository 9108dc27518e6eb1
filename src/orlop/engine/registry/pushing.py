"""Push: an image's layers, configuration and manifest to a registry. Worker only.

What the engine hands over for each tag, in `Job.images`:

    {"tag", "config": {"digest", "size", "path"},
     "manifest": {"digest", "media_type", "path"} or null,
     "layers": [{"diff_id", "digest", "size", "media_type", "path", "tar",
                 "sources": [repository]}]}

An image that was pulled has a manifest, and goes out with it and with the very blobs it names:
*digest*, *size* and *media_type* are the manifest's, *path* is the blob if it was kept. Any other
is compressed here (*tar*), always to the same bytes, and described by a manifest of schema 2.
*sources* are repositories of the same registry that have the blob already.

The files are opened before privileges are dropped. The engine is asked `pushed {"tag", "digest"}`
after each tag.
"""

from __future__ import annotations

import io
import queue
import threading
import time
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import quote

from orlop.engine.registry.http import BLOCK_BYTES
from orlop.engine.registry.layers import PROGRESS_INTERVAL_S
from orlop.engine.registry.uploading import blob_exists, compress, mount, upload
from orlop.lib.errors import OrlopError
from orlop.wire.registry import manifest as manifests
from orlop.wire.registry import progress
from orlop.wire.registry.manifest import Descriptor
from orlop.wire.registry.reference import short_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop.engine.registry.channel import Channel
    from orlop.engine.registry.job import Job
    from orlop.engine.registry.session import Session

MAX_SOURCES = 4
"""How many repositories are tried for a mount before the blob is sent after all."""


@dataclass(slots=True)
class PushLayer:
    """One layer to be there afterwards."""

    data: dict[str, Any]
    blob: BinaryIO | None
    tar: BinaryIO | None
    descriptor: Descriptor | None = None
    there: set[str] = field(default_factory=set)
    """Repositories that are known to have it."""
    error: OrlopError | None = None
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def id(self) -> str:
        return short_id(self.data["diff_id"])


@dataclass(slots=True)
class PushImage:
    """One tag."""

    tag: str
    config: Descriptor
    config_data: bytes
    manifest: bytes
    media_type: str
    layers: list[PushLayer]


def open_images(job: Job) -> list[PushImage]:
    """Open everything the job names; called while files can be.

    Raises:
        OrlopError: something is missing.
    """
    try:
        return [_open_image(image) for image in job.images]
    except OSError as error:
        raise OrlopError(f"cannot read the image: {error.strerror}") from error


def _open(path: str) -> BinaryIO | None:
    """Open until the process ends."""
    return open(path, "rb") if path else None


def _open_image(image: dict[str, Any]) -> PushImage:
    config, manifest = image["config"], image["manifest"]
    layers = [
        PushLayer(
            data,
            _open(data["path"]),
            _open(data["tar"]),
        )
        for data in image["layers"]
    ]
    with open(config["path"], "rb") as stream:
        config_data = stream.read(manifests.MAX_CONFIG_BYTES + 1)
    manifest_data = b""
    if manifest is not None:
        with open(manifest["path"], "rb") as stream:
            manifest_data = stream.read(manifests.MAX_MANIFEST_BYTES + 1)
    return PushImage(
        image["tag"],
        Descriptor(manifests.DOCKER_CONFIG, config["digest"], len(config_data)),
        config_data,
        manifest_data,
        manifest["media_type"] if manifest is not None else "",
        layers,
    )


class Push:
    """All tags of one push to one endpoint."""

    def __init__(
        self, channel: Channel, session: Session, images: list[PushImage], uploads: Uploads
    ) -> None:
        self._channel = channel
        self._session = session
        self._images = images
        self._uploads = uploads

    def run(self) -> dict[str, Any]:
        """Raises: OrlopError: any reason."""
        for image in self._images:
            self._push(image)
        return {}

    def _push(self, image: PushImage) -> None:
        exact = bool(image.manifest)
        self._uploads.run(self._session, image.layers)
        self._push_config(image.config, image.config_data)
        descriptors = [layer.descriptor for layer in image.layers if layer.descriptor is not None]
        data, media_type = image.manifest, image.media_type
        exact = exact and [d.digest for d in descriptors] == [
            layer.data["digest"] for layer in image.layers
        ]
        if not exact:
            data = manifests.build_manifest(image.config, descriptors)
            media_type = manifests.DOCKER_MANIFEST
        url = self._session.url(f"/manifests/{quote(image.tag, safe='')}")
        response = self._session.call(
            "PUT", url, headers={"Content-Type": media_type}, body=data, ok=(200, 201, 202)
        )
        response.read_all(1 << 20)
        digest = f"sha256:{sha256(data).hexdigest()}"
        text = f"{image.tag}: digest: {digest} size: {len(data)}"
        self._channel.progress(progress.status(text))
        self._channel.ask("pushed", tag=image.tag, digest=digest)
        result = {"Tag": image.tag, "Digest": digest, "Size": len(data)}
        self._channel.progress(progress.aux(result))

    def _push_config(self, config: Descriptor, data: bytes) -> None:
        if blob_exists(self._session, config):
            return
        upload(self._session, config.digest, lambda: io.BytesIO(data), len(data))


class Uploads:
    """Threads that bring layers to the registry. `start` them, then `run` for each image."""

    def __init__(self, channel: Channel, parallel: int) -> None:
        self._channel = channel
        self._parallel = parallel
        self._queue: queue.Queue[tuple[Session, PushLayer]] = queue.Queue()
        self._failed = threading.Event()

    def start(self) -> None:
        """Make the threads; called while that is allowed."""
        for number in range(self._parallel):
            threading.Thread(target=self._work, args=(f"upload-{number}",), daemon=True).start()

    def run(self, session: Session, layers: list[PushLayer]) -> None:
        """Raises: OrlopError: of the first layer that failed."""
        self._failed.clear()
        # dockerd counts from the top.
        order = list(reversed(layers))
        for layer in order:
            layer.done.clear()
            layer.error = None
            self._channel.progress(progress.action("Preparing", layer.id))
        first: dict[str, PushLayer] = {}
        for place, layer in enumerate(order):
            if layer.data["diff_id"] in first:
                continue
            first[layer.data["diff_id"]] = layer
            if place >= self._parallel:
                self._channel.progress(progress.action("Waiting", layer.id))
            self._queue.put((session, layer))
        for layer in first.values():
            layer.done.wait()
        for layer in layers:
            same = first[layer.data["diff_id"]]
            layer.descriptor = same.descriptor
            if same.error is not None:
                raise same.error

    def _work(self, name: str) -> None:
        while True:
            session, layer = self._queue.get()
            try:
                if self._failed.is_set():
                    raise OrlopError("context canceled")
                layer.descriptor = self._bring(session, layer, name)
            except OrlopError as error:
                layer.error = error
                self._failed.set()
            except Exception as error:  # noqa: BLE001 - a thread must not die: others wait for it
                layer.error = OrlopError(f"cannot push layer {layer.id}: {error!r}")
                self._failed.set()
            finally:
                layer.done.set()

    def _bring(self, session: Session, layer: PushLayer, name: str) -> Descriptor:
        """Have the layer in the registry, in the cheapest way that works."""
        if layer.descriptor is not None and session.repository in layer.there:
            self._channel.progress(progress.action("Layer already exists", layer.id))
            return layer.descriptor
        data = layer.data
        known = None
        if data["digest"]:
            known = Descriptor(data["media_type"], data["digest"], data["size"])
            if (found := self._present(session, layer, known)) is not None:
                return found
        if layer.blob is not None and known is not None:
            self._send(session, layer, known, layer.blob)
            return known
        if layer.tar is None:
            raise OrlopError(f"the layer {layer.id} is not in the image store")
        self._channel.progress(progress.action("Preparing", layer.id))
        compressed, descriptor = compress(layer.tar, name)
        with compressed:
            if (found := self._present(session, layer, descriptor)) is not None:
                return found
            self._send(session, layer, descriptor, compressed)
        return descriptor

    def _present(self, session: Session, layer: PushLayer, blob: Descriptor) -> Descriptor | None:
        """The blob if the registry has it, or can take it from another repository."""
        if blob_exists(session, blob):
            self._channel.progress(progress.action("Layer already exists", layer.id))
            return self._remember(session, layer, blob)
        for source in layer.data["sources"][:MAX_SOURCES]:
            if source != session.repository and mount(session, blob.digest, source):
                text = f"Mounted from {source}"
                self._channel.progress(progress.action(text, layer.id))
                return self._remember(session, layer, blob)
        return None

    def _remember(self, session: Session, layer: PushLayer, blob: Descriptor) -> Descriptor:
        layer.there.add(session.repository)
        return blob

    def _send(self, session: Session, layer: PushLayer, blob: Descriptor, stream: BinaryIO) -> None:
        def body() -> BinaryIO:
            stream.seek(0)
            counted = _Counted(stream, lambda count: self._show(layer, count, blob.size))
            return cast("BinaryIO", counted)

        upload(session, blob.digest, body, blob.size)
        self._channel.progress(progress.action("Pushed", layer.id))
        self._remember(session, layer, blob)

    def _show(self, layer: PushLayer, count: int, size: int) -> None:
        if self._failed.is_set():
            raise OrlopError("context canceled")
        self._channel.progress(progress.progress("Pushing", layer.id, count, size))


class _Counted:
    """A stream that tells how much of it was read."""

    def __init__(self, stream: BinaryIO, tell: Callable[[int], None]) -> None:
        self._stream = stream
        self._tell = tell
        self._count = 0
        self._shown_s = 0.0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size if size > 0 else BLOCK_BYTES)
        self._count += len(data)
        now_s = time.monotonic()
        if data and now_s - self._shown_s >= PROGRESS_INTERVAL_S:
            self._shown_s = now_s
            self._tell(self._count)
        return data
