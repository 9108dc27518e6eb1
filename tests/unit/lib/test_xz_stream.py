"""Streams come out as the command makes them, and take no more memory than is allowed."""

from __future__ import annotations

import random
import subprocess
from typing import TYPE_CHECKING

import pytest

from orlop.lib import xz_stream
from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from pathlib import Path

WORDS = [random.Random(number).randbytes(5) + b"\xe8" for number in range(500)]
PLAIN = b"".join(random.Random(1).choices(WORDS, k=100_000))
DICTIONARY_BYTES = 1 << 17


def stream(dictionary_bytes: int = DICTIONARY_BYTES, limit_bytes: int = 1 << 20) -> bytes:
    return xz_stream.compress(memoryview(bytearray(PLAIN)), dictionary_bytes, limit_bytes)


def test_the_same_bytes_as_the_kernels_build_makes(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(PLAIN)
    options = ["--check=crc32", "--threads=1", "--x86", f"--lzma2=,dict={DICTIONARY_BYTES}"]
    made = subprocess.run(
        ["xz", "--stdout", *options, tmp_path / "plain"], check=True, capture_output=True
    )
    assert made.stdout == stream()


def test_back_again() -> None:
    output = bytearray(len(PLAIN))
    xz_stream.decompress(stream(), memoryview(output))
    assert output == PLAIN


def test_what_is_damaged_cut_or_of_another_length() -> None:
    data = stream()
    for wrong in (data[:-1], data[: len(data) // 2], b"", data[:60] + b"\xff" + data[61:]):
        with pytest.raises(InvalidArgument):
            xz_stream.decompress(wrong, memoryview(bytearray(len(PLAIN))))
    for size in (len(PLAIN) - 1, len(PLAIN) + 1):
        with pytest.raises(InvalidArgument):
            xz_stream.decompress(data, memoryview(bytearray(size)))


def test_a_dictionary_that_is_too_large() -> None:
    with pytest.raises(InvalidArgument, match="error 6"):
        xz_stream.decompress(stream(64 << 20), memoryview(bytearray(len(PLAIN))))


def test_no_room() -> None:
    with pytest.raises(InvalidArgument, match="longer"):
        stream(limit_bytes=len(stream()) - 1)
    assert stream(limit_bytes=len(stream())) == stream()
