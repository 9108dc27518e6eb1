"""The kernel's own form of xz, in memory: one block, the filter for x86 before LZMA2, CRC32.

The same bytes as the kernel's build makes with `xz --check=crc32 --threads=1 --x86
--lzma2=dict=SIZE`: it is the same library. Source: liblzma 5.8, lzma/container.h; Linux 6.12,
scripts/xz_wrap.sh.
"""

from __future__ import annotations

import contextlib
import ctypes
from typing import TYPE_CHECKING

from orlop.lib import micro_lzma
from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY_LIMIT_BYTES = 16 << 20
"""For what is taken apart: a dictionary of 8 MiB and a little."""
_PRESET = 6
_CRC32 = 1
_X86, _LZMA2, _END = 0x04, 0x21, (1 << 64) - 1


class _Filter(ctypes.Structure):
    """lzma_filter."""

    _fields_ = (("kind", ctypes.c_uint64), ("options", ctypes.c_void_p))


def decompress(data: bytes, output: memoryview) -> None:
    """Fill *output*, which can be written to, with what *data* holds.

    Raises:
        InvalidArgument: it is damaged, holds more or less, or has too large a dictionary.
    """
    library, stream = micro_lzma.load(), micro_lzma.Stream()
    begun = library.lzma_stream_decoder(ctypes.byref(stream), MEMORY_LIMIT_BYTES, 0)
    with _place(output) as place:
        ended = micro_lzma.run(library, stream, begun, micro_lzma.address(data), place)
    if not ended or stream.total_out != len(output):
        raise InvalidArgument(f"a stream does not hold {len(output)} bytes")


def compress(data: memoryview, dictionary_bytes: int, limit_bytes: int) -> bytes:
    """*data*, which can be written to, as a stream of at most *limit_bytes*.

    Raises:
        InvalidArgument: it becomes longer, or the library does not know the form.
    """
    library, stream, options = micro_lzma.load(), micro_lzma.Stream(), micro_lzma.Options()
    if library.lzma_lzma_preset(ctypes.byref(options), _PRESET):
        raise InvalidArgument(f"LZMA has no level {_PRESET}")
    options.dict_size = dictionary_bytes
    filters = (_Filter * 3)(
        _Filter(_X86, None), _Filter(_LZMA2, ctypes.addressof(options)), _Filter(_END, None)
    )
    output = ctypes.create_string_buffer(limit_bytes)
    begun = library.lzma_stream_encoder(ctypes.byref(stream), filters, _CRC32)
    with _place(data) as place:
        room = ctypes.addressof(output), len(output)
        ended = micro_lzma.run(library, stream, begun, place, room)
    if not ended:
        raise InvalidArgument("a stream becomes longer than it was")
    return output.raw[: stream.total_out]


@contextlib.contextmanager
def _place(data: memoryview) -> Iterator[tuple[int, int]]:
    """Address and size of *data* while the block runs."""
    array = (ctypes.c_char * len(data)).from_buffer(data)
    try:
        yield ctypes.addressof(array), len(data)
    finally:
        del array
