"""MicroLZMA, the form of LZMA that EROFS has: a piece of any length in a cluster of a given size.

The same bytes as mkfs.erofs makes: its compressor is the same library. Python's own `lzma` lacks
this form. A cluster that is not full begins with zeros; the first byte of what follows is never
one. Source: liblzma 5.8, lzma/container.h; Linux 6.12, fs/erofs/decompressor_lzma.c.
"""

from __future__ import annotations

import ctypes
import functools

from orlop.lib import shared_library
from orlop.lib.errors import InvalidArgument, Unavailable

_FINISH, _STREAM_END = 3, 1
_Pointer, _Size, _Number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32


class Stream(ctypes.Structure):
    """lzma_stream."""

    _fields_ = (
        ("next_in", _Pointer),
        ("avail_in", _Size),
        ("total_in", ctypes.c_uint64),
        ("next_out", _Pointer),
        ("avail_out", _Size),
        ("total_out", ctypes.c_uint64),
        ("rest", ctypes.c_uint64 * 16),
    )


class Options(ctypes.Structure):
    """lzma_options_lzma, of which we set one field and the library the others."""

    _fields_ = (("dict_size", _Number), ("rest", ctypes.c_uint64 * 32))


_FUNCTIONS = (
    ("lzma_lzma_preset", ctypes.c_ubyte, (_Pointer, _Number)),
    ("lzma_microlzma_encoder", ctypes.c_int, (_Pointer, _Pointer)),
    (
        "lzma_microlzma_decoder",
        ctypes.c_int,
        (_Pointer, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_ubyte, _Number),
    ),
    ("lzma_stream_encoder", ctypes.c_int, (_Pointer, _Pointer, ctypes.c_int)),
    ("lzma_stream_decoder", ctypes.c_int, (_Pointer, ctypes.c_uint64, _Number)),
    ("lzma_code", ctypes.c_int, (_Pointer, ctypes.c_int)),
    ("lzma_end", None, (_Pointer,)),
)


@functools.cache
def load() -> ctypes.CDLL:
    """Open the library; for a worker that cannot later.

    Raises:
        Unavailable: there is none, or it is older than this form.
    """
    try:
        return shared_library.load("liblzma.so.5", _FUNCTIONS)
    except OSError as error:
        raise Unavailable(f"nothing is compressed on this system: {error}") from error


def decompress(cluster: bytes, plain_bytes: int, dictionary_bytes: int) -> bytes:
    """The *plain_bytes* that *cluster* holds.

    Raises:
        InvalidArgument: it is damaged, or holds less.
    """
    data = cluster.lstrip(b"\0")
    library, stream, output = load(), Stream(), ctypes.create_string_buffer(plain_bytes)
    begun = library.lzma_microlzma_decoder(
        ctypes.byref(stream), len(data), plain_bytes, 0, dictionary_bytes
    )
    run(library, stream, begun, address(data), (ctypes.addressof(output), len(output)))
    if stream.total_out != plain_bytes:
        raise InvalidArgument(f"a cluster holds {stream.total_out} bytes, {plain_bytes} expected")
    return output.raw


def compress(data: bytes, size_bytes: int, level: int, dictionary_bytes: int) -> tuple[bytes, int]:
    """A cluster of *size_bytes* with as much of *data* as goes into it, and how much that is.

    The end of it may depend on bytes of *data* that are not in it any more.

    Raises:
        InvalidArgument: the library does not know the level, or takes nothing.
    """
    library, stream, options = load(), Stream(), Options()
    if library.lzma_lzma_preset(ctypes.byref(options), level):
        raise InvalidArgument(f"LZMA has no level {level}")
    options.dict_size = dictionary_bytes
    output = ctypes.create_string_buffer(size_bytes)
    begun = library.lzma_microlzma_encoder(ctypes.byref(stream), ctypes.byref(options))
    run(library, stream, begun, address(data), (ctypes.addressof(output), len(output)))
    return output.raw[: stream.total_out].rjust(size_bytes, b"\0"), stream.total_in


def run(
    library: ctypes.CDLL, stream: Stream, begun: int, source: tuple[int, int], room: tuple[int, int]
) -> bool:
    """Put *source* through the coder of *stream*, which the call with the result *begun* has made,
    into *room*; whether that was all. Both are address and size in memory: who passes an object
    could not let go of it after an error. The coder is gone then.

    Raises:
        InvalidArgument: there is no such coder, or the data are damaged.
    """
    if begun:
        raise InvalidArgument(f"LZMA refuses what it is asked for: error {begun}")
    stream.next_in, stream.avail_in = source
    stream.next_out, stream.avail_out = room
    try:
        result = library.lzma_code(ctypes.byref(stream), _FINISH)
    finally:
        library.lzma_end(ctypes.byref(stream))
    if result not in (0, _STREAM_END):
        raise InvalidArgument(f"what is compressed is damaged: LZMA's error {result}")
    return bool(result == _STREAM_END)


def address(data: bytes) -> tuple[int, int]:
    """Where *data* is in memory, as long as somebody has it, and its size."""
    return ctypes.cast(ctypes.c_char_p(data), _Pointer).value or 0, len(data)
