"""Kernels as the kernel's build makes them, with a few functions that call each other."""

from __future__ import annotations

import random
import struct

from orlop.image.delta_maker import KERNEL_DICTIONARY_BYTES
from orlop.lib import xz_stream

COUNT = 300
TEXT, DATA = 0xFFFFFFFF81000000, 0xFFFFFFFF82000000
PAGE = 4096
FUNCTION_BYTES = 96
GROWN, GROWTH_BYTES = 100, 64


def starts(grown: bool) -> list[int]:
    """Where the functions begin; GROWN is longer in the one that has *grown*."""
    more = GROWTH_BYTES if grown else 0
    return [number * FUNCTION_BYTES + (more if number > GROWN else 0) for number in range(COUNT)]


def payload(*, grown: bool = False) -> bytes:
    """An ELF file with code and data, and the tables of relocated places after it."""
    places = starts(grown)
    text = bytearray()
    absolute = []
    for number in range(COUNT):
        source = random.Random(number)
        text += bytes(source.choices(range(0x50, 0x60), k=30))  # push, pop: refer to nothing
        for _ in range(6):
            target = source.randrange(COUNT)
            text += b"\xe8" + struct.pack("<i", places[target] - len(text) - 5) + b"\x50\x51"
        text += b"\x68" + struct.pack("<I", (TEXT + places[number]) & 0xFFFFFFFF)
        absolute.append((TEXT + len(text) - 4) & 0xFFFFFFFF)
        text += b"\x90" * (-len(text) % 32)
        if grown and number == GROWN:
            text += b"\x57" * GROWTH_BYTES
    data = b"".join(struct.pack("<Q", TEXT + place) for place in places)
    pointers = [(DATA + 8 * number) & 0xFFFFFFFF for number in range(COUNT)]
    tables = struct.pack(f"<I{COUNT}III{COUNT}I", 0, *pointers, 0, 0, *absolute)
    return _elf(bytes(text), data) + tables


def _elf(text: bytes, data: bytes) -> bytes:
    names = b"\0.text\0.data\0.shstrtab\0\0"
    second = PAGE + len(text) + -len(text) % PAGE
    third = second + len(data) + -len(data) % 8
    table = third + len(names) + -len(names) % 8
    header = b"\x7fELF\2\1\1".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, TEXT, 64, table, 0, 64, 56, 2, 64, 4, 3
    )
    segments = b"".join(
        struct.pack("<IIQQQQQQ", 1, flags, at, address, 0, size, size, PAGE)
        for flags, at, address, size in ((5, PAGE, TEXT, len(text)), (6, second, DATA, len(data)))
    )
    sections = bytes(64) + b"".join(
        struct.pack("<IIQQQQIIQQ", name, kind, flags, address, at, size, 0, 0, 16, 0)
        for name, kind, flags, address, at, size in (
            (1, 1, 6, TEXT, PAGE, len(text)),
            (7, 1, 3, DATA, second, len(data)),
            (13, 3, 0, 0, third, len(names)),
        )
    )
    whole = bytearray(table) + sections
    for at, part in ((0, header + segments), (PAGE, text), (second, data), (third, names)):
        whole[at : at + len(part)] = part
    return bytes(whole)


def boot_image(program: bytes, dictionary_bytes: int = KERNEL_DICTIONARY_BYTES) -> bytes:
    """A bzImage that holds *program*."""
    stream = xz_stream.compress(memoryview(bytearray(program)), dictionary_bytes, 1 << 20)
    head = bytearray(1024)
    head[0x1F1] = 1
    head[0x202:0x206] = b"HdrS"
    head[0x248:0x250] = struct.pack("<II", 512, len(stream) + 4)
    return bytes(head) + bytes(512) + stream + struct.pack("<I", len(program)) + bytes(100)
