"""`docker save`: images as an archive that Docker and OCI tools both read.

What dockerd 28 writes: an OCI layout with every layer uncompressed, as it is in the store, and
`manifest.json` and `repositories` beside it. All sizes are known before the first byte, and layers
go from the disk to the socket without passing through this process.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orlop.engine.api.image_store import publish, store_of
from orlop.engine.api.router import Route
from orlop.engine.images import sha256_hex
from orlop.lib.errors import InvalidArgument, NotFound
from orlop.wire import tar
from orlop.wire.registry.manifest import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from orlop.wire.registry.reference import is_digest, parse_reference
from orlop.wire.tar import BLOCK, Header, Kind

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.engine.api.exchange import Exchange
    from orlop.engine.engine import Engine
    from orlop.engine.store.layered import LayeredImages
    from orlop.engine.store.records import ImageRecord
    from orlop.wire.registry.reference import Reference

type Chosen = list[tuple[ImageRecord, list[Reference]]]
"""Images in order, each with the tags it is saved under."""

OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
MAX_NAMES = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the archive: bytes, or a file of the store."""

    name: str
    content: bytes | Path
    size: int
    mtime_ns: int = 0

    def header(self) -> bytes:
        return tar.encode(
            Header(name=self.name.encode(), size=self.size, mtime_ns=self.mtime_ns, mode=0o644)
        )


def routes(engine: Engine) -> list[Route]:
    """The rows of the route table that are answered here."""

    async def get_all(exchange: Exchange) -> None:
        names = exchange.query.get("names", [])
        await _save(engine, exchange, [part for name in names for part in name.split(",")])

    async def get_one(exchange: Exchange) -> None:
        await _save(engine, exchange, [exchange.parameters["name"]])

    return [
        Route("GET", "/images/get", get_all),
        Route("GET", "/images/{name:path}/get", get_one),
    ]


async def _save(engine: Engine, exchange: Exchange, names: list[str]) -> None:
    store = store_of(engine)
    if not names or len(names) > MAX_NAMES:
        raise InvalidArgument("no images to save" if not names else "too many images to save")
    chosen = select(store, names)
    async with store.ingest() as session:
        # What is being sent stays, whatever is deleted meanwhile.
        for record, _ in chosen:
            session.pin(record.id)
            for diff_id in record.layers:
                store.layer(diff_id)
                session.pin(diff_id)
        entries = plan(store, chosen)
        total = sum(len(e.header()) + _padded(e.size) for e in entries)
        directories = _directories()
        total += len(directories) + len(tar.END)
        await exchange.begin_sized_stream("application/x-tar", total)
        await exchange.write(directories)
        for entry in entries:
            await exchange.write(entry.header())
            if isinstance(entry.content, bytes):
                await exchange.write(entry.content)
            else:
                await _send(exchange, entry.content, entry.size)
            await exchange.write(bytes(-entry.size % BLOCK))
        await exchange.write(tar.END)
        await exchange.end()
    for record, _ in chosen:
        publish(engine, record, "save")


async def _send(exchange: Exchange, path: Path, size: int) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        if os.fstat(descriptor).st_size != size:
            raise NotFound(f"{path.name} is damaged")
        await exchange.write_file(stream, size)


def select(store: LayeredImages, names: list[str]) -> Chosen:
    """Images in the order asked for, each with the tags it is saved under.

    A name without a tag means all tags of the repository, as for dockerd; an id means no tag.

    Raises:
        NotFound: one does not exist.
    """
    chosen: dict[str, list[Reference]] = {}
    for name in names:
        if is_digest(name) or store.find_by_id(name) is not None:
            chosen.setdefault(store.find(name).id, [])
            continue
        named = parse_reference(name)
        if named.is_name_only:
            found = [
                (parse_reference(key), image_id)
                for key, image_id in sorted(store.tags.items())
                if parse_reference(key).name == named.name
            ]
            if not found:
                store.find(name)
            for reference, image_id in found:
                _add(chosen.setdefault(image_id, []), reference)
        else:
            record = store.find(name)
            tags = chosen.setdefault(record.id, [])
            if named.tag and not named.digest:
                _add(tags, named)
    return [(store.images[image_id], tags) for image_id, tags in chosen.items()]


def _add(tags: list[Reference], reference: Reference) -> None:
    if reference not in tags:
        tags.append(reference)


def plan(store: LayeredImages, chosen: Chosen) -> list[Entry]:
    """The files of the archive, each blob once."""
    blobs: dict[str, Entry] = {}
    index: list[dict[str, Any]] = []
    items: list[dict[str, Any]] = []
    repositories: dict[str, dict[str, str]] = {}
    for record, tags in chosen:
        manifest = _image(store, record, blobs)
        descriptor = {
            "mediaType": OCI_MANIFEST,
            "digest": f"sha256:{sha256_hex(manifest)}",
            "size": len(manifest),
        }
        if not tags:
            index.append(descriptor)
        for tag in tags:
            notes = {
                "io.containerd.image.name": str(tag),
                "org.opencontainers.image.ref.name": tag.tag,
            }
            index.append({**descriptor, "annotations": notes})
            top = record.layers[-1] if record.layers else record.id
            repositories.setdefault(tag.familiar_name, {})[tag.tag] = top.partition(":")[2]
        items.append(_docker_item(store, record, tags))
    files = [
        Entry("index.json", *_document({"schemaVersion": 2, "mediaType": OCI_INDEX,
                                        "manifests": index})),
        Entry("manifest.json", *_document(items)),
        Entry("oci-layout", *_document({"imageLayoutVersion": "1.0.0"})),
    ]  # fmt: skip
    if repositories:
        files.append(Entry("repositories", *_document(repositories)))
    return [*sorted(blobs.values(), key=lambda entry: entry.name), *files]


def _image(store: LayeredImages, record: ImageRecord, blobs: dict[str, Entry]) -> bytes:
    """Put an image's blobs into *blobs*; its manifest."""
    when = record.created_ns
    layers = []
    for diff_id in record.layers:
        layer = store.layer(diff_id)
        path = store.blob_path(diff_id)
        blobs.setdefault(diff_id, Entry(_path(diff_id), path, layer.tar_bytes, when))
        layers.append({"mediaType": OCI_LAYER, "digest": diff_id, "size": layer.tar_bytes})
    config = store.directory.read_blob(record.id)
    blobs[record.id] = Entry(_path(record.id), config, len(config), when)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": record.id, "size": len(config)},
        "layers": layers,
    }
    manifest = json.dumps(document, separators=(",", ":")).encode()
    digest = f"sha256:{sha256_hex(manifest)}"
    blobs[digest] = Entry(_path(digest), manifest, len(manifest), when)
    return manifest


def _docker_item(
    store: LayeredImages, record: ImageRecord, tags: list[Reference]
) -> dict[str, Any]:
    sources = {
        diff_id: {
            "mediaType": OCI_LAYER,
            "size": store.layer(diff_id).tar_bytes,
            "digest": diff_id,
        }
        for diff_id in record.layers
    }
    return {
        "Config": _path(record.id),
        "RepoTags": [tag.familiar for tag in tags] or None,
        "Layers": [_path(diff_id) for diff_id in record.layers],
        "LayerSources": sources,
    }


def _document(value: object) -> tuple[bytes, int]:
    data = json.dumps(value, separators=(",", ":")).encode()
    return data, len(data)


def _path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _directories() -> bytes:
    return b"".join(
        tar.encode(Header(name=name, kind=Kind.DIRECTORY, mode=0o755))
        for name in (b"blobs/", b"blobs/sha256/")
    )
