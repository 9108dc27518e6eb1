"""Compressed streams, recognised by their first bytes and unpacked piece by piece.

gzip, zstd, bzip2 and xz. Python 3.13 has no zstd: libzstd is called through ctypes. What comes out
is bounded by who asks: each call gives at most `PIECE_BYTES` at a time, however much the input
expands to. `load_codecs` imports what may be needed, for a worker that cannot later.
"""

from __future__ import annotations

import ctypes
import zlib
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PIECE_BYTES = 1 << 20
MAGIC_BYTES = 6
"""How much `detect` looks at."""

_MAGIC = {
    "gzip": b"\x1f\x8b\x08",
    "zstd": b"\x28\xb5\x2f\xfd",
    "bzip2": b"BZh",
    "xz": b"\xfd7zXZ\0",
}


class CorruptStream(ValueError):
    """The compressed data is damaged, or ends too early."""


class Decompressor(Protocol):
    """One stream, from its beginning."""

    def feed(self, data: bytes | memoryview) -> Iterator[bytes]:
        """What *data* unpacks to, in pieces.

        Raises:
            CorruptStream: it is damaged.
        """

    def finish(self) -> None:
        """Nothing more comes.

        Raises:
            CorruptStream: it ended too early.
        """


def detect(start: bytes | memoryview) -> str:
    """`gzip`, `zstd`, `bzip2`, `xz`, or empty for none of them."""
    head = bytes(start[:MAGIC_BYTES])
    for name, magic in _MAGIC.items():
        if head.startswith(magic):
            return name
    return ""


def load_codecs() -> None:
    """Import and open now what decompression takes."""
    for name in ("bz2", "lzma"):
        try:
            _modules[name] = __import__(name)
        except ImportError:
            continue
    try:
        _modules["zstd"] = _load_zstd()
    except OSError:
        pass


_modules: dict[str, Any] = {}


def open_decompressor(name: str) -> Decompressor:
    """For a stream of the kind that `detect` named.

    Raises:
        CorruptStream: this system has no library for it.
    """
    match name:
        case "gzip":
            return _Members(lambda: zlib.decompressobj(wbits=31), zlib.error)
        case "bzip2" if "bz2" in _modules:
            return _Members(_modules["bz2"].BZ2Decompressor, OSError)
        case "xz" if "lzma" in _modules:
            lzma = _modules["lzma"]
            return _Members(lambda: lzma.LZMADecompressor(memlimit=256 << 20), lzma.LZMAError)
        case "zstd" if "zstd" in _modules:
            return _Zstd(_modules["zstd"])
    raise CorruptStream(f"no support for {name} on this system")


class _Members:
    """Python's own decompressors; several streams one after the other are one."""

    def __init__(self, make: Callable[[], Any], error: type[Exception]) -> None:
        self._make = make
        self._error = error
        self._current = make()

    def feed(self, data: bytes | memoryview) -> Iterator[bytes]:
        more = True
        while more:
            if self._current.eof:
                # Archives are padded with zeroes by some; anything else is the next member.
                data = bytes(data).lstrip(b"\0")
                if not data:
                    return
                self._current = self._make()
            try:
                piece = self._current.decompress(data, PIECE_BYTES)
            except self._error as error:
                raise CorruptStream(f"invalid compressed data: {error}") from error
            if piece:
                yield piece
            if self._current.eof:
                data = self._current.unused_data
            else:
                # zlib gives back what it did not take, the others keep it.
                data = getattr(self._current, "unconsumed_tail", b"")
                more = bool(data) or len(piece) == PIECE_BYTES

    def finish(self) -> None:
        if not self._current.eof:
            raise CorruptStream("unexpected EOF")


class _Buffer(ctypes.Structure):
    """ZSTD_inBuffer and ZSTD_outBuffer of zstd.h."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("position", ctypes.c_size_t),
    )


def _load_zstd() -> Any:
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_createDStream.restype = ctypes.c_void_p
    library.ZSTD_freeDStream.argtypes = (ctypes.c_void_p,)
    library.ZSTD_decompressStream.argtypes = (
        ctypes.c_void_p,
        ctypes.POINTER(_Buffer),
        ctypes.POINTER(_Buffer),
    )
    library.ZSTD_decompressStream.restype = ctypes.c_size_t
    library.ZSTD_isError.argtypes = (ctypes.c_size_t,)
    library.ZSTD_getErrorName.argtypes = (ctypes.c_size_t,)
    library.ZSTD_getErrorName.restype = ctypes.c_char_p
    return library


class _Zstd:
    """Frames one after the other, window at most 128 MiB, the library's own bound."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._stream = library.ZSTD_createDStream()
        if not self._stream:
            raise MemoryError("zstd")
        self._room = ctypes.create_string_buffer(PIECE_BYTES)
        self._left = 0

    def __del__(self) -> None:
        self._library.ZSTD_freeDStream(self._stream)

    def feed(self, data: bytes | memoryview) -> Iterator[bytes]:
        data = bytes(data)
        source = _Buffer(ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p), len(data), 0)
        while True:
            room = _Buffer(ctypes.addressof(self._room), PIECE_BYTES, 0)
            left = self._library.ZSTD_decompressStream(
                self._stream, ctypes.byref(room), ctypes.byref(source)
            )
            if self._library.ZSTD_isError(left):
                reason = self._library.ZSTD_getErrorName(left).decode()
                raise CorruptStream(f"invalid compressed data: {reason}")
            self._left = left
            if room.position:
                yield ctypes.string_at(self._room, room.position)
            if source.position == len(data) and room.position < PIECE_BYTES:
                return

    def finish(self) -> None:
        if self._left:
            raise CorruptStream("unexpected EOF")
