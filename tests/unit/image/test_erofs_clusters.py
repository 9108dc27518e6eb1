"""Clusters of real images: where they are, what they hold."""

from __future__ import annotations

import random
import struct

import pytest

from orlop.image.erofs_clusters import BLOCK_BYTES, read_layout
from orlop.lib import micro_lzma
from orlop.lib.errors import InvalidArgument
from tests.unit.image.packed_images import FILES, root, text


def test_the_clusters_hold_all_files() -> None:
    layout = read_layout(root())
    assert layout.paths == set(FILES)
    held = b""
    for cluster in layout.clusters:
        data = root()[cluster.offset_bytes : cluster.offset_bytes + cluster.size_bytes]
        held += micro_lzma.decompress(data, cluster.plain_bytes, layout.dictionary_bytes)
    # The end of the large file is with the small ones.
    begins = text("/usr/bin/large", 700_000)[: layout.clusters[0].plain_bytes]
    assert held.startswith(begins)
    assert all(text(path, size) in held for path, size in FILES.items() if size < 700_000)


def test_clusters_do_not_overlap() -> None:
    clusters = read_layout(root()).clusters
    assert len(clusters) >= 4
    assert all(cluster.offset_bytes % BLOCK_BYTES == 0 for cluster in clusters)
    ends = [cluster.offset_bytes + cluster.size_bytes for cluster in clusters]
    starts = [cluster.offset_bytes for cluster in clusters[1:]]
    assert all(end <= start for end, start in zip(ends, [*starts, len(root())], strict=True))


@pytest.mark.parametrize("data", [b"", bytes(1 << 12), b"x" * 5000], ids=["empty", "zeros", "x"])
def test_what_is_none(data: bytes) -> None:
    with pytest.raises(InvalidArgument):
        read_layout(data)


def test_other_compression_is_refused() -> None:
    data = bytearray(root())
    struct.pack_into("<H", data, 1024 + 84, 1)
    with pytest.raises(InvalidArgument, match="LZMA"):
        read_layout(bytes(data))


def test_damaged_images_are_read_or_refused() -> None:
    source = random.Random(7)
    for _ in range(200):
        data = bytearray(root())
        for _ in range(4):
            data[source.randrange(1024, 1024 + 8 * BLOCK_BYTES)] = source.randrange(256)
        try:
            read_layout(bytes(data))
        except InvalidArgument:
            pass
