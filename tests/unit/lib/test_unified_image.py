"""What is read out of a unified kernel image, and that damaged ones are errors."""

from __future__ import annotations

import struct

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.lib.unified_image import describe, parse_sections

PARTS = (
    (".osrel", b"ID=orlop\nVERSION_ID=1.2\nBUILD_ID=abcd\n"),
    (".cmdline", b"quiet a=b\0"),
    (".linux", bytes(700)),
    (".initrd", bytes(512)),
    (".cmdline", b"of another profile"),
)


def image(parts: tuple[tuple[str, bytes], ...] = PARTS) -> bytes:
    head = struct.pack("<2s58xI", b"MZ", 64)
    head += struct.pack("<4sHHIIIHH", b"PE\0\0", 0x8664, len(parts), 0, 0, 0, 0, 0)
    body, at = b"", 1024
    for name, data in parts:
        head += struct.pack("<8sIIII16x", name.encode(), len(data), 0, len(data), at)
        padded = data + bytes(-len(data) % 512)
        body, at = body + padded, at + len(padded)
    return head.ljust(1024, b"\0") + body


def test_description() -> None:
    data = image()
    found = describe(lambda offset, size: data[offset : offset + size])
    assert (found.version, found.build, found.command_line) == ("1.2", "abcd", "quiet a=b")
    assert found.kernel == (4, 2)
    assert found.initrd == (6, 1)


@pytest.mark.parametrize("missing", [".osrel", ".linux", ".initrd"])
def test_what_is_no_image(missing: str) -> None:
    data = image(tuple(part for part in PARTS if part[0] != missing))
    with pytest.raises(InvalidArgument, match=missing):
        describe(lambda offset, size: data[offset : offset + size])


@pytest.mark.parametrize("size", [0, 63, 70, 100])
def test_what_is_cut_off(size: int) -> None:
    with pytest.raises(InvalidArgument, match="not an EFI program"):
        parse_sections(image()[:size])
