"""Streams unpack whole and byte by byte, and damage is told."""

import bz2
import gzip
import lzma
import random
import subprocess

import pytest

from orlop.engine.store import compression
from orlop.engine.store.compression import CorruptStream

compression.load_codecs()
DATA = random.Random(3).randbytes(3000) + bytes(4_000_000) + b"end"


def packed(kind: str) -> bytes:
    match kind:
        case "gzip":
            return gzip.compress(DATA)
        case "bzip2":
            return bz2.compress(DATA)
        case "xz":
            return lzma.compress(DATA)
    return subprocess.run(["zstd", "-c"], input=DATA, capture_output=True, check=True).stdout


KINDS = ["gzip", "bzip2", "xz", "zstd"]


def unpack(kind: str, pieces: list[bytes]) -> bytes:
    decompressor = compression.open_decompressor(kind)
    result = b""
    for piece in pieces:
        for part in decompressor.feed(piece):
            assert len(part) <= compression.PIECE_BYTES
            result += part
    decompressor.finish()
    return result


@pytest.mark.parametrize("kind", KINDS)
def test_whole_and_in_pieces(kind: str) -> None:
    data = packed(kind)

    assert compression.detect(data) == kind
    assert unpack(kind, [data]) == DATA
    step = max(len(data) // 500, 1)
    assert unpack(kind, [data[at : at + step] for at in range(0, len(data), step)]) == DATA


@pytest.mark.parametrize("kind", KINDS)
def test_streams_after_one_another_are_one(kind: str) -> None:
    assert unpack(kind, [packed(kind) + packed(kind)]) == DATA + DATA


@pytest.mark.parametrize("kind", KINDS)
def test_damage_and_early_ends_are_told(kind: str) -> None:
    data = packed(kind)
    broken = data[:1000] + bytes(200) + data[1200:]

    with pytest.raises(CorruptStream, match="EOF"):
        unpack(kind, [data[:-9]])
    with pytest.raises(CorruptStream):
        unpack(kind, [broken])


def test_padding_after_gzip_is_passed_over() -> None:
    assert unpack("gzip", [packed("gzip") + bytes(700)]) == DATA
    with pytest.raises(CorruptStream):
        unpack("gzip", [packed("gzip") + b"garbage"])


def test_what_is_not_compressed() -> None:
    assert compression.detect(b"") == ""
    assert compression.detect(b"ustar") == ""
