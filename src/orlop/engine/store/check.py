"""`orlop engine check` for the image store: every byte is read, and compared with its digest."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orlop.engine.store.directory import INDEX, RECORD, TAR, StoreDirectory
from orlop.engine.store.layer_index import checksum
from orlop.engine.store.records import ImageRecord, image_from, layer_from, read_json
from orlop.engine.store.spool import READ_BYTES, sha256
from orlop.lib import atomic_file
from orlop.lib.errors import Internal, OrlopError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orlop.engine.check import Finding


def check_store(data: Path, repair: bool) -> Iterator[Finding]:
    """Damaged layers and blobs, images that lack some, and what cannot be read.

    What is damaged is set aside in DATA/store/broken: it comes back by loading or pulling it again.
    """
    store = StoreDirectory(data / "store")
    if not store.path.exists():
        return
    layers: set[str] = set()
    blobs: set[str] = set()
    yield from _check_layers(store, repair, layers)
    yield from _check_blobs(store, repair, blobs)
    yield from _check_images(store, repair, layers, blobs)
    yield from _check_references(store, repair)


def _check_layers(store: StoreDirectory, repair: bool, whole: set[str]) -> Iterator[Finding]:
    """Puts the diff ids of those that are into *whole*."""
    from orlop.engine.check import Finding

    for path in _entries(store.layers):
        problem = _layer_problem(path)
        if problem:
            yield Finding(f"layer {path.name[:12]}: {problem}", _aside(store, path, repair))
            continue
        whole.add(f"sha256:{path.name}")
        problem = _index_problem(path)
        if problem:
            done = ""
            if repair:
                (path / INDEX).unlink(missing_ok=True)
                done = "is made again when it is needed"
            yield Finding(f"index of layer {path.name[:12]}: {problem}", done)


def _check_blobs(store: StoreDirectory, repair: bool, whole: set[str]) -> Iterator[Finding]:
    from orlop.engine.check import Finding

    for path in _entries(store.blobs):
        if _digest(path) == path.name:
            whole.add(f"sha256:{path.name}")
        else:
            text = f"blob {path.name[:12]} has another digest"
            yield Finding(text, _aside(store, path, repair))


def _check_images(
    store: StoreDirectory, repair: bool, layers: set[str], blobs: set[str]
) -> Iterator[Finding]:
    from orlop.engine.check import Finding

    for path in _entries(store.images):
        try:
            record = image_from(read_json(path))
        except (OSError, OrlopError) as error:
            yield Finding(f"image {path.name[:12]}: {error}", _aside(store, path, repair))
            continue
        for missing in _missing(record, layers, blobs):
            yield Finding(f"image {path.name[:12]} lacks {missing}: load or pull it again")


def _check_references(store: StoreDirectory, repair: bool) -> Iterator[Finding]:
    from orlop.engine.check import Finding

    path = store.path / "references.json"
    try:
        read_json(path)
    except FileNotFoundError:
        return
    except (OSError, OrlopError) as error:
        yield Finding(f"the names of images: {error}", _aside(store, path, repair))


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(
            path
            for path in directory.iterdir()
            if not path.name.startswith(atomic_file.TEMPORARY_PREFIX)
        )
    except FileNotFoundError:
        return []


def _layer_problem(path: Path) -> str:
    try:
        record = layer_from(read_json(path / RECORD))
        size = (path / TAR).stat().st_size
        if size != record.tar_bytes:
            return f"{size} of {record.tar_bytes} bytes are there"
        found = _digest(path / TAR)
    except (OSError, OrlopError) as error:
        return str(error)
    return "" if found == path.name else f"its bytes have digest {found[:12]}"


def _index_problem(path: Path) -> str:
    record = layer_from(read_json(path / RECORD))
    try:
        if checksum(os.fspath(path / INDEX)) != record.index_crc:
            raise Internal("it is damaged")
    except (OSError, OrlopError) as error:
        return str(error)
    return ""


def _digest(path: Path) -> str:
    found = sha256()
    with open(path, "rb") as stream:
        while data := stream.read(READ_BYTES):
            found.update(data)
    return str(found.hexdigest())


def _missing(record: ImageRecord, layers: set[str], blobs: set[str]) -> Iterator[str]:
    for diff_id in record.layers:
        if diff_id not in layers:
            yield f"layer {diff_id[7:19]}"
    if record.id not in blobs:
        yield "its configuration"
    if record.manifest is None:
        return
    for digest in (record.manifest.digest, *(blob.digest for blob in record.manifest.layers)):
        if digest not in blobs and digest not in layers:
            yield f"blob {digest[7:19]}"


def _aside(store: StoreDirectory, path: Path, repair: bool) -> str:
    if not repair:
        return ""
    broken = store.path / "broken"
    broken.mkdir(exist_ok=True, mode=0o700)
    target = broken / f"{path.name}-{os.urandom(4).hex()}"
    os.rename(path, target)
    atomic_file.sync_directory(path.parent)
    return f"set aside in {target}"
