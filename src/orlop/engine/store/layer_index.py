"""Makes the EROFS index of a layer's tar, in a worker."""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING

from orlop.engine.store import erofs, tree
from orlop.engine.store.tar_reader import FileSource, entries
from orlop.wire.tar import Kind

if TYPE_CHECKING:
    from orlop.engine.store.spool import Blob

_READ_BYTES = 1 << 20


def index_layer(blob: Blob, diff_id: str) -> dict[str, object]:
    """Index `blob.tar` into a file beside it; what `records.LayerRecord` is made from.

    Raises:
        TarError: it is no layer.
    """
    index = f"{blob.path}.erofs"
    descriptor = os.open(blob.tar, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        facts = make_index(descriptor, index, diff_id)
    finally:
        os.close(descriptor)
    return {"diff_id": diff_id, "tar_file": blob.tar, "index_file": index, **facts}


def make_index(descriptor: int, index_path: str, diff_id: str) -> dict[str, object]:
    """Index the tar open as *descriptor* into *index_path*, which must not exist.

    Returns the sizes of both, a CRC-32 of the index, the number of names, and the sum of the
    sizes of the files, each counted once.
    """
    tar_bytes = os.fstat(descriptor).st_size
    root = tree.build(entries(FileSource(descriptor)), tar_bytes)
    uuid = bytes.fromhex(diff_id.partition(":")[2][:32])
    with open(index_path, "xb") as stream:
        index_bytes = erofs.write_index(root, stream, tar_bytes=tar_bytes, uuid=uuid)
    content_bytes, files = _measure(root)
    return {
        "tar_bytes": tar_bytes,
        "index_bytes": index_bytes,
        "index_crc": checksum(index_path),
        "content_bytes": content_bytes,
        "files": files,
    }


def checksum(path: str) -> int:
    """CRC-32 of a file."""
    value = 0
    with open(path, "rb") as stream:
        while data := stream.read(_READ_BYTES):
            value = zlib.crc32(data, value)
    return value


def _measure(root: tree.Node) -> tuple[int, int]:
    total = count = 0
    seen: set[int] = set()
    for directory in tree.walk(root):
        assert directory.children is not None
        for node in directory.children.values():
            count += 1
            if node.kind is Kind.FILE and id(node) not in seen:
                seen.add(id(node))
                total += node.size
    return total, count
