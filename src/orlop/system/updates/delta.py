"""An image out of the one that is there and what has changed: `zstd --patch-from`. Worker only.

The old image is the beginning of the window that the new one refers to. Both files are mapped, so
that applying takes hardly any memory but page cache. Nothing is believed of the difference: the
result is as long as it must be, and whoever called checks its digest.
Source: zstd 1.5 zstd.h, ZSTD_DCtx_refPrefix.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import mmap
import os
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument, Unavailable
from orlop.wire.release import MAX_IMAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

_Pointer, _Size = ctypes.c_void_p, ctypes.c_size_t
_UNKNOWN = (1 << 64) - 2
"""ZSTD_CONTENTSIZE_ERROR; the largest number is ZSTD_CONTENTSIZE_UNKNOWN."""


@functools.cache
def load() -> ctypes.CDLL:
    """Open the library; for a worker that cannot later.

    Raises:
        Unavailable: there is none.
    """
    try:
        library = ctypes.CDLL("libzstd.so.1")
    except OSError as error:
        raise Unavailable(f"no deltas on this system: {error}") from error
    for name, result, arguments in (
        ("ZSTD_createDCtx", _Pointer, ()),
        ("ZSTD_freeDCtx", _Size, (_Pointer,)),
        ("ZSTD_DCtx_refPrefix", _Size, (_Pointer, _Pointer, _Size)),
        ("ZSTD_decompressDCtx", _Size, (_Pointer, _Pointer, _Size, _Pointer, _Size)),
        ("ZSTD_getFrameContentSize", ctypes.c_uint64, (_Pointer, _Size)),
        ("ZSTD_isError", ctypes.c_uint, (_Size,)),
        ("ZSTD_getErrorName", ctypes.c_char_p, (_Size,)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def open_base(path: str) -> int:
    """The image at *path*, open for `apply`; -1 if there is none: the whole one is fetched then."""
    try:
        load()
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, Unavailable):
        return -1


def apply(base: int, difference: str, target: str, size: int) -> None:
    """Make the file *target* of *size* bytes out of *base* and *difference*.

    Raises:
        InvalidArgument: the difference is damaged, or one to another image. OSError: no room.
    """
    library = load()
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with (
        open(difference, "rb") as patch,
        os.fdopen(os.open(target, flags, 0o600), "r+b") as output,
    ):
        # All of it at once: no room later would be a signal instead of an error.
        os.posix_fallocate(output.fileno(), 0, size)
        with (
            _mapped(base, mmap.ACCESS_COPY) as (old, old_size),
            _mapped(patch.fileno(), mmap.ACCESS_COPY) as (changes, changes_size),
            _mapped(output.fileno(), mmap.ACCESS_WRITE) as (new, new_size),
        ):
            announced = library.ZSTD_getFrameContentSize(changes, changes_size)
            if announced != size:
                shown = announced if announced < _UNKNOWN else "an unknown number of"
                raise InvalidArgument(f"the delta makes {shown} bytes, {size} are expected")
            context = library.ZSTD_createDCtx()
            try:
                _check(library, library.ZSTD_DCtx_refPrefix(context, old, old_size))
                made = library.ZSTD_decompressDCtx(context, new, new_size, changes, changes_size)
                _check(library, made)
            finally:
                library.ZSTD_freeDCtx(context)
    if made != size:
        raise InvalidArgument(f"the delta makes {made} bytes, {size} are expected")


def _check(library: ctypes.CDLL, result: int) -> None:
    if library.ZSTD_isError(result):
        reason = library.ZSTD_getErrorName(result).decode()
        raise InvalidArgument(f"the delta does not fit the image that is there: {reason}")


@contextlib.contextmanager
def _mapped(descriptor: int, access: int) -> Iterator[tuple[int, int]]:
    """Address and size of a file in memory while the block runs."""
    size = os.fstat(descriptor).st_size
    if not 0 < size <= MAX_IMAGE_BYTES:
        raise InvalidArgument(f"a file of {size} bytes is no image")
    with mmap.mmap(descriptor, size, access=access) as memory:
        view = ctypes.c_char.from_buffer(memory)
        try:
            yield ctypes.addressof(view), size
        finally:
            del view
