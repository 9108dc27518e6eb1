"""MicroLZMA both ways."""

from __future__ import annotations

import os

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.lib.micro_lzma import compress, decompress

DICTIONARY = 1 << 19
TEXT = b"".join(b"%d, " % number for number in range(20_000))


def test_what_fits_comes_back() -> None:
    cluster, taken = compress(TEXT, 4096, 6, DICTIONARY)
    assert len(cluster) == 4096
    assert 4096 < taken < len(TEXT)
    assert decompress(cluster, taken, DICTIONARY) == TEXT[:taken]


def test_a_cluster_that_is_not_full_begins_with_zeros() -> None:
    cluster, taken = compress(b"x" * 1000, 4096, 6, DICTIONARY)
    assert taken == 1000
    assert cluster.startswith(bytes(3000))
    assert decompress(cluster, 1000, DICTIONARY) == b"x" * 1000


def test_damage() -> None:
    cluster, taken = compress(TEXT, 4096, 6, DICTIONARY)
    for bad in (b"", bytes(4096), cluster[:100], b"\xff" * 4096):
        with pytest.raises(InvalidArgument):
            decompress(bad, taken, DICTIONARY)
    assert decompress(cluster[:-8] + os.urandom(8), 100, DICTIONARY) == TEXT[:100]


def test_no_such_level() -> None:
    with pytest.raises(InvalidArgument, match="level 77"):
        compress(TEXT, 4096, 77, DICTIONARY)
