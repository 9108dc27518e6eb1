"""The store on disk: where things are, and how they come and go so that a crash leaves it whole.

DATA/store/layers/HEX/   layer.tar  index.erofs  layer.json      HEX of the diff id
DATA/store/blobs/HEX     configurations, manifests, compressed layers as they came
DATA/store/images/HEX.json   what is known about an image; HEX of its id
DATA/store/references.json   names and digests, each with the image it stands for
DATA/store/staging/      what is being made; rubbish after a crash
DATA/store/trash/        what is being deleted

Whatever appears under its name there is whole and synced. An image is written after its layers and
blobs, a reference after its image; deletion goes the other way round. What nothing refers to is
removed at a start.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.engine.store.records import (
    ImageRecord,
    LayerRecord,
    image_from,
    layer_from,
    read_json,
)
from orlop.lib import atomic_file
from orlop.lib.errors import Internal, OrlopError
from orlop.wire.image_config import MAX_DOCUMENT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

log = logging.getLogger(__name__)

TAR = "layer.tar"
INDEX = "index.erofs"
RECORD = "layer.json"


@dataclass(frozen=True, slots=True)
class References:
    """*tags* and *digests*: canonical references (`docker.io/library/busybox:1`, `…@sha256:…`) to
    ids. *tagged_ns* says when an image last got a name."""

    tags: Mapping[str, str]
    digests: Mapping[str, str]
    tagged_ns: Mapping[str, int]


class StoreDirectory:
    """Blocking file operations; for threads, and for short reads. One engine at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.layers = path / "layers"
        self.blobs = path / "blobs"
        self.images = path / "images"
        self.staging = path / "staging"
        self.trash = path / "trash"
        self._references = path / "references.json"
        self.unreadable_images = 0
        """Records that `read_images` could not read: what they need is not known then."""

    def prepare(self) -> None:
        """Make what is missing, and remove what a crash left half written.

        Raises:
            OSError: it cannot be done.
        """
        for directory in (self.layers, self.blobs, self.images, self.staging, self.trash):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for directory in (self.path, self.images, self.blobs):
            atomic_file.remove_temporaries(directory)

    def layer(self, diff_id: str) -> Path:
        return self.layers / _hex(diff_id)

    def blob(self, digest: str) -> Path:
        return self.blobs / _hex(digest)

    def read_layers(self) -> Iterator[LayerRecord]:
        """Every whole layer; damaged ones are reported and left out."""
        for path in sorted(self.layers.iterdir()):
            try:
                record = layer_from(read_json(path / RECORD))
                if record.hex != path.name:
                    raise Internal("it belongs to another layer")
                size = (path / TAR).stat().st_size
                if size != record.tar_bytes:
                    raise Internal(f"{size} of {record.tar_bytes} bytes are there")
            except (OSError, OrlopError) as error:
                log.error("layer %s is damaged: %s", path.name[:12], error)
                continue
            yield record

    def read_images(self) -> Iterator[ImageRecord]:
        """Every image; a damaged record is reported and left out."""
        for path in sorted(self.images.glob("*.json")):
            try:
                yield image_from(read_json(path))
            except (OSError, OrlopError) as error:
                self.unreadable_images += 1
                log.error("image %s is damaged: %s", path.name[:12], error)

    def read_references(self) -> References:
        """The references; none if they cannot be read, which is reported."""
        try:
            data = read_json(self._references)
        except FileNotFoundError:
            return References({}, {}, {})
        except (OSError, OrlopError) as error:
            log.error("the names of images are lost: %s", error)
            return References({}, {}, {})
        return References(
            _texts(data.get("tags")), _texts(data.get("digests")), _numbers(data.get("tagged_ns"))
        )

    def write_references(self, references: References) -> None:
        """Durable. Raises: OSError."""
        data = {
            "tags": dict(references.tags),
            "digests": dict(references.digests),
            "tagged_ns": dict(references.tagged_ns),
        }
        atomic_file.write_bytes(self._references, _json(data), mode=0o600)

    def write_image(self, record: ImageRecord) -> None:
        """Durable. Raises: OSError; a new image is not there then."""
        path = self.images / f"{record.hex}.json"
        is_new = not path.exists()
        try:
            atomic_file.write_bytes(path, _json(record.to_json()), mode=0o600)
        except OSError:
            if is_new:
                with contextlib.suppress(OSError):
                    path.unlink()
            raise

    def remove_image(self, record: ImageRecord) -> None:
        """Raises: OSError."""
        (self.images / f"{record.hex}.json").unlink(missing_ok=True)
        atomic_file.sync_directory(self.images)

    def add_layer(self, source: Path, facts: Mapping[str, object], record: LayerRecord) -> None:
        """Take a layer that a worker made in *source*; one that is there already stays.

        Raises:
            OSError, Internal: the files are not what a worker should have left.
        """
        made = self.staging / f"layer-{os.urandom(8).hex()}"
        made.mkdir(mode=0o700)
        try:
            _take(source, str(facts["tar_file"]), made / TAR)
            _take(source, str(facts["index_file"]), made / INDEX)
            atomic_file.write_bytes(made / RECORD, _json(record.to_json()), mode=0o600)
            self._put_layer(made, record)
        except BaseException:
            with contextlib.suppress(OSError):
                self.discard(made)
            raise

    def _put_layer(self, made: Path, record: LayerRecord) -> None:
        target = self.layer(record.diff_id)
        try:
            os.rename(made, target)
        except OSError:
            if not target.exists():
                raise
            # There is one that is damaged or was left by a crash: this one is known to be whole.
            os.rename(target, self.trash / f"{record.hex}-{os.urandom(4).hex()}")
            os.rename(made, target)
        try:
            atomic_file.sync_directory(self.layers)
        except OSError:
            os.rename(target, made)
            raise

    def replace_index(self, source: Path, name: str, record: LayerRecord) -> None:
        """Take a new index of a layer that is there. Raises: as `add_layer`."""
        target = self.layer(record.diff_id)
        # A crash in between leaves an index that does not fit its record: it is made once more.
        _take(source, name, target / INDEX)
        atomic_file.write_bytes(target / RECORD, _json(record.to_json()), mode=0o600)

    def add_blob(self, source: Path, name: str, digest: str) -> None:
        """Take a blob from a worker's directory. Raises: as `add_layer`."""
        _take(source, name, self.blob(digest))
        atomic_file.sync_directory(self.blobs)

    def read_blob(self, digest: str) -> bytes:
        """A small blob: a configuration or manifest.

        Raises:
            Internal: it is missing or too large for one.
        """
        try:
            with open(self.blob(digest), "rb") as stream:
                data = stream.read(MAX_DOCUMENT_BYTES + 1)
        except OSError as error:
            raise Internal(f"blob {digest} is missing: {error.strerror}") from error
        if len(data) > MAX_DOCUMENT_BYTES:
            raise Internal(f"blob {digest} is too large")
        return data

    def write_blob(self, data: bytes, digest: str) -> None:
        """Store *data* as a blob. Raises: OSError."""
        atomic_file.write_bytes(self.blob(digest), data, mode=0o600)

    def has_blob(self, digest: str, size: int) -> bool:
        """Whether the blob is there in its full size."""
        try:
            return self.blob(digest).stat().st_size == size
        except OSError:
            return False

    def discard(self, path: Path) -> None:
        """Move *path* to the trash; nothing there is fine. Raises: OSError."""
        try:
            os.rename(path, self.trash / f"{path.name[:24]}-{os.urandom(8).hex()}")
        except FileNotFoundError:
            return


def _take(directory: Path, name: str, target: Path) -> None:
    """Move a regular file out of a worker's directory, make it root's own and sync it.

    The worker has ended, but is not trusted: the name may be anything, the file a link.
    """
    if "/" in name or name in ("", ".", ".."):
        raise Internal("a worker named a file outside its directory")
    source = directory / name
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise Internal("a worker left something that is no file of its own")
        os.fchown(descriptor, os.geteuid(), os.getegid())
        os.fchmod(descriptor, 0o600)
        os.fsync(descriptor)
        os.rename(source, target)
    finally:
        os.close(descriptor)


def _hex(digest: str) -> str:
    algorithm, _, name = digest.partition(":")
    if algorithm != "sha256" or len(name) != 64 or set(name) - set("0123456789abcdef"):
        raise Internal(f"{digest[:80]!r} is no digest")
    return name


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {key: item for key, item in value.items() if isinstance(item, str)}


def _numbers(value: object) -> dict[str, int]:
    if not isinstance(value, dict):
        return {}
    return {key: item for key, item in value.items() if isinstance(item, int)}
