"""In a worker: takes an image archive apart, as it comes over a stream.

`docker save` of any age and OCI layouts, also with both descriptions in one archive, compressed or
not. Files are spooled in the order they come, since what they are is told at the end; then the
descriptions are read and every layer is unpacked, hashed and indexed. What comes out is checked:
each digest was computed here.
"""

from __future__ import annotations

import json
import os
import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orlop.engine.store import compression
from orlop.engine.store.layer_index import index_layer
from orlop.engine.store.spool import Blob, Spool
from orlop.engine.store.tar_reader import entries
from orlop.lib.errors import InvalidArgument
from orlop.wire.image_config import MAX_DOCUMENT_BYTES, parse_config, parse_document
from orlop.wire.registry.manifest import (
    OCI_INDEX,
    Descriptor,
    Index,
    Manifest,
    parse_manifest,
    select,
)
from orlop.wire.registry.platform import Platform
from orlop.wire.tar import Kind, TarError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop.engine.store.byte_input import InputReader

MAX_FILES = 20_000
MAX_IMAGES = 1000
MAX_LINKS = 40


class StreamSource:
    """A `tar_reader.Source` over what is read once, unpacked if it is compressed."""

    def __init__(self, source: InputReader) -> None:
        self._read = source.read
        self._buffer = memoryview(b"")
        self.position = 0
        self._pieces = self._read_pieces()

    def _read_pieces(self) -> Iterator[bytes | memoryview]:
        data = self._read()
        while 0 < len(data) < compression.MAGIC_BYTES and (more := self._read()):
            data = bytes(data) + more
        kind = compression.detect(data)
        if not kind:
            while data:
                yield data
                data = self._read()
            return
        decompressor = compression.open_decompressor(kind)
        while data:
            yield from decompressor.feed(data)
            data = self._read()
        decompressor.finish()

    def pieces(self, size: int) -> Iterator[memoryview]:
        """The next *size* bytes, in whatever pieces they come; fewer only at the end."""
        while size:
            if not self._buffer:
                self._buffer = memoryview(next(self._pieces, b""))
                if not self._buffer:
                    return
            piece, self._buffer = self._buffer[:size], self._buffer[size:]
            size -= len(piece)
            self.position += len(piece)
            yield piece

    def read(self, size: int) -> bytes:
        return b"".join(self.pieces(size))

    def skip(self, size: int) -> None:
        for _ in self.pieces(size):
            pass

    def drain(self) -> None:
        """Take what is left, so that whoever writes it is not cut off."""
        while next(self._pieces, b""):
            pass


@dataclass(slots=True)
class _Found:
    """What the archive holds, by name. Links are followed when a name is looked up."""

    blobs: dict[str, Blob] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def get(self, name: str) -> Blob:
        name = _clean(name)
        for _ in range(MAX_LINKS):
            if name in self.blobs:
                return self.blobs[name]
            if name not in self.links:
                break
            name = self.links[name]
        raise InvalidArgument(f"invalid archive: no file {name[:200]!r}")

    def has(self, name: str) -> bool:
        return _clean(name) in self.blobs

    def read(self, name: str) -> bytes:
        blob = self.get(name)
        if blob.size > MAX_DOCUMENT_BYTES:
            raise InvalidArgument(f"invalid archive: {name[:200]!r} is too large")
        with open(blob.path, "rb") as stream:
            return stream.read()

    def has_digest(self, descriptor: Descriptor) -> bool:
        return self.has("blobs/" + descriptor.digest.replace(":", "/"))

    def by_digest(self, descriptor: Descriptor) -> Blob:
        algorithm, _, digest = descriptor.digest.partition(":")
        blob = self.get(f"blobs/{algorithm}/{digest}")
        if blob.digest != descriptor.digest:
            raise InvalidArgument(f"invalid archive: {descriptor.digest} has digest {blob.digest}")
        if blob.size != descriptor.size:
            raise InvalidArgument(f"invalid archive: {descriptor.digest} has another size")
        return blob


def _clean(name: str) -> str:
    return posixpath.normpath("/" + name).lstrip("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundImage:
    """One image of an archive; *manifest* only where the archive has one for it."""

    config: Blob
    document: dict[str, object]
    diff_ids: tuple[str, ...]
    tags: tuple[str, ...]
    manifest: tuple[Blob, Manifest] | None = None


class ArchiveReader:
    """Reads one archive; results are plain values for the engine."""

    def __init__(self, spool: Spool, platform: Platform) -> None:
        self._spool = spool
        self._platform = platform
        self._found = _Found()
        self._layers: dict[str, dict[str, object]] = {}

    def read(self, reader: InputReader) -> dict[str, object]:
        """Take the archive that *reader* gives apart; see `ingest.Loaded` for the result.

        Raises:
            InvalidArgument, ResourceExhausted, TarError, CorruptStream: with the reason.
        """
        source = StreamSource(reader)
        for count, (header, _) in enumerate(entries(source)):
            if count >= MAX_FILES:
                raise InvalidArgument(f"an archive with more than {MAX_FILES} files")
            name = _clean(os.fsdecode(header.name))
            match header.kind:
                case Kind.FILE:
                    self._found.blobs[name] = self._store(source, header.size)
                case Kind.SYMLINK:
                    target = posixpath.join(posixpath.dirname(name), os.fsdecode(header.link))
                    self._found.links[name] = _clean(target)
                case Kind.HARDLINK:
                    self._found.links[name] = _clean(os.fsdecode(header.link))
                case _:
                    pass
        source.drain()
        images = self._describe()
        return {
            "images": [self._result(image) for image in images],
            "layers": list(self._layers.values()),
        }

    def _store(self, source: StreamSource, size: int) -> Blob:
        writer = self._spool.open()
        left = size
        for piece in source.pieces(size):
            writer.write(piece)
            left -= len(piece)
        if left:
            raise TarError("unexpected EOF")
        return writer.finish()

    def _describe(self) -> list[FoundImage]:
        if self._found.has("manifest.json"):
            return self._docker_images()
        if self._found.has("index.json"):
            return self._oci_images()
        raise InvalidArgument(
            "invalid archive: it holds neither manifest.json nor index.json, so it is no image"
        )

    def _docker_images(self) -> list[FoundImage]:
        data = self._found.read("manifest.json")
        try:
            items = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise InvalidArgument(f"invalid manifest.json: {error}") from error
        if not isinstance(items, list) or len(items) > MAX_IMAGES:
            raise InvalidArgument("invalid manifest.json: not a list of images")
        manifests = self._manifests_by_config()
        images = []
        for item in items:
            if not isinstance(item, dict):
                raise InvalidArgument("invalid manifest.json: not a list of images")
            config = self._found.get(_string(item.get("Config")))
            layers = [self._found.get(_string(name)) for name in _strings(item.get("Layers"))]
            tags = tuple(_strings(item.get("RepoTags")))
            images.append(self._image(config, layers, tags, manifests.get(config.digest)))
        return images

    def _oci_images(self) -> list[FoundImage]:
        images = []
        for descriptor, notes in self._index():
            name = notes.get("io.containerd.image.name")
            short = notes.get("org.opencontainers.image.ref.name")
            tag = name if isinstance(name, str) else short if isinstance(short, str) else ""
            found = self._resolve(descriptor)
            if found is None:
                continue
            blob, manifest = found
            layers = [self._found.by_digest(layer) for layer in manifest.layers]
            config = self._found.by_digest(manifest.config)
            # A name without a tag is only what OCI's tools call it in this layout.
            tags = (tag,) if ":" in tag else ()
            images.append(self._image(config, layers, tags, (blob, manifest)))
        if not images:
            raise InvalidArgument(f"the archive holds no image for {self._platform}")
        return images

    def _index(self) -> list[tuple[Descriptor, dict[str, object]]]:
        """What index.json lists, with its annotations."""
        data = self._found.read("index.json")
        index = parse_manifest(data, OCI_INDEX)
        if not isinstance(index, Index):
            raise InvalidArgument("invalid index.json")
        items = parse_document(data, "index.json").get("manifests") or []
        assert isinstance(items, list)
        result = []
        for entry, item in zip(index.manifests, items, strict=True):
            annotations = item.get("annotations")
            result.append((entry.descriptor, annotations if isinstance(annotations, dict) else {}))
        return result

    def _resolve(self, descriptor: Descriptor) -> tuple[Blob, Manifest] | None:
        """The manifest that *descriptor* names, through an index of platforms if it is one.

        None: it is for other platforms only, or no image but something about one.
        """
        blob = self._found.by_digest(descriptor)
        parsed = parse_manifest(self._read_document(blob), descriptor.media_type)
        if isinstance(parsed, Index):
            for entry in select(parsed, self._platform):
                if self._found.has_digest(entry.descriptor):
                    blob = self._found.by_digest(entry.descriptor)
                    parsed = parse_manifest(self._read_document(blob), entry.descriptor.media_type)
                    break
        return (blob, parsed) if isinstance(parsed, Manifest) else None

    def _read_document(self, blob: Blob) -> bytes:
        if blob.size > MAX_DOCUMENT_BYTES:
            raise InvalidArgument("invalid archive: a manifest is too large")
        with open(blob.path, "rb") as stream:
            return stream.read()

    def _manifests_by_config(self) -> dict[str, tuple[Blob, Manifest]]:
        """Manifests of the OCI layout that `docker save` also writes, where they are whole."""
        result: dict[str, tuple[Blob, Manifest]] = {}
        if not self._found.has("index.json"):
            return result
        try:
            for descriptor, _ in self._index():
                found = self._resolve(descriptor)
                if found is not None:
                    for layer in found[1].layers:
                        self._found.by_digest(layer)
                    result[found[1].config.digest] = found
        except InvalidArgument:
            # manifest.json is what counts; this only keeps the manifest's own bytes.
            return result
        return result

    def _image(
        self,
        config: Blob,
        layers: list[Blob],
        tags: tuple[str, ...],
        manifest: tuple[Blob, Manifest] | None,
    ) -> FoundImage:
        document, diff_ids = parse_config(self._read_document(config))
        if len(diff_ids) != len(layers):
            raise InvalidArgument("invalid manifest, layers length mismatch")
        for diff_id, blob in zip(diff_ids, layers, strict=True):
            if blob.tar_digest != diff_id:
                raise InvalidArgument(
                    f"layer {diff_id} has digest {blob.tar_digest}: the archive is damaged"
                )
            if diff_id not in self._layers:
                self._layers[diff_id] = index_layer(blob, diff_id)
        return FoundImage(
            config=config, document=document, diff_ids=diff_ids, tags=tags, manifest=manifest
        )

    def _result(self, image: FoundImage) -> dict[str, object]:
        result: dict[str, object] = {
            "id": image.config.digest,
            "config_file": image.config.path,
            "config": image.document,
            "layers": image.diff_ids,
            "tags": image.tags,
        }
        if image.manifest is not None:
            blob, manifest = image.manifest
            result["manifest"] = {
                "file": blob.path,
                "digest": blob.digest,
                "size": blob.size,
                "media_type": manifest.media_type,
            }
            result["blobs"] = [
                {
                    "digest": layer.digest,
                    "size": layer.size,
                    "media_type": layer.media_type,
                    "file": self._found.by_digest(layer).path,
                }
                for layer in manifest.layers
            ]
        return result


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidArgument("invalid manifest.json: a string expected")
    return value


def _strings(value: object) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MAX_IMAGES:
        raise InvalidArgument("invalid manifest.json: a list of strings expected")
    return [_string(item) for item in value]
