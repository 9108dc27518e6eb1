"""An image out of the one that is there and what has changed: `zstd --patch-from`. Worker only.

The old image is the beginning of the window that the new one refers to. If the delta has a recipe
(`wire.recompression`), both are taken with what is in compressed clusters of the root and in the
kernel, and the new one's are compressed again; what refers to something in the old kernel is made
to refer to where that is in the new one (`wire.relocation`). All files are mapped, so that
applying takes hardly any memory but page cache, and 48 MB to compress a kernel. Nothing is believed
of the delta: the result is as long as it must be, and whoever called checks its digest.
Source: zstd 1.5 zstd.h, ZSTD_DCtx_refPrefix.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import mmap
import os
from typing import TYPE_CHECKING

from orlop.lib import micro_lzma, shared_library, xz_stream
from orlop.lib.errors import InvalidArgument, Unavailable
from orlop.wire import recompression, relocation
from orlop.wire.release import MAX_IMAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from orlop.wire.recompression import Cluster, Recipe

_Pointer, _Size = ctypes.c_void_p, ctypes.c_size_t
_UNKNOWN = (1 << 64) - 2
"""ZSTD_CONTENTSIZE_ERROR; the largest number is ZSTD_CONTENTSIZE_UNKNOWN."""


_FUNCTIONS = (
    ("ZSTD_createDCtx", _Pointer, ()),
    ("ZSTD_freeDCtx", _Size, (_Pointer,)),
    ("ZSTD_DCtx_refPrefix", _Size, (_Pointer, _Pointer, _Size)),
    ("ZSTD_decompressDCtx", _Size, (_Pointer, _Pointer, _Size, _Pointer, _Size)),
    ("ZSTD_getFrameContentSize", ctypes.c_uint64, (_Pointer, _Size)),
    ("ZSTD_isError", ctypes.c_uint, (_Size,)),
    ("ZSTD_getErrorName", ctypes.c_char_p, (_Size,)),
)


@functools.cache
def load() -> ctypes.CDLL:
    """Open the library; for a worker that cannot later.

    Raises:
        Unavailable: there is none.
    """
    try:
        return shared_library.load("libzstd.so.1", _FUNCTIONS)
    except OSError as error:
        raise Unavailable(f"no deltas on this system: {error}") from error


def open_base(path: str) -> int:
    """The image at *path*, open for `apply`; -1 if there is none: the whole one is fetched then."""
    try:
        load()
        micro_lzma.load()
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, Unavailable):
        return -1


def apply(
    base: int, difference: str, target: str, size: int, check_room: Callable[[int], None]
) -> None:
    """Make the file *target* of *size* bytes out of *base* and *difference*, in the present
    directory. *check_room* raises if so many bytes more are not to be had there.

    Raises:
        InvalidArgument: the difference is damaged, or one to another image. OSError: no room.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with (
        open(difference, "rb") as patch,
        os.fdopen(os.open(target, flags, 0o600), "r+b") as output,
    ):
        found = recompression.parse_recipe(os.pread(patch.fileno(), recompression.MAX_BYTES, 0))
        if found is None:
            check_room(size)
            _patch(base, patch.fileno(), 0, output.fileno(), size)
            return
        recipe, start = found
        pieces = recipe.pieces
        before = recompression.expanded_bytes(os.fstat(base).st_size, pieces[0])
        expanded = recompression.expanded_bytes(size, pieces[1])
        check_room(expanded + max(before, size))
        with _nameless() as new:
            with _nameless() as old:
                _expand(base, recipe, old.fileno())
                _patch(old.fileno(), patch.fileno(), start, new.fileno(), expanded)
            _collect(new.fileno(), recipe, output.fileno(), size)


def _patch(base: int, patch: int, start: int, output: int, size: int) -> None:
    """Make *size* bytes of *base* and what *patch* has from *start* on."""
    library = load()
    # All of it at once: no room later would be a signal instead of an error.
    os.posix_fallocate(output, 0, size)
    with (
        _mapped(base, mmap.ACCESS_COPY) as (old, old_size),
        _mapped(patch, mmap.ACCESS_COPY) as (patch_at, patch_size),
        _mapped(output, mmap.ACCESS_WRITE) as (new, new_size),
    ):
        changes, changes_size = patch_at + start, patch_size - start
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


def _nameless() -> BinaryIO:
    """A file in the present directory that is gone when it is closed, whatever happens."""
    return os.fdopen(os.open(".", os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600), "r+b")


def _expand(base: int, recipe: Recipe, output: int) -> None:
    """Make *output* what *base* is without the old pieces of *recipe*, and what these hold."""
    size, pieces = os.fstat(base).st_size, recipe.pieces[0]
    with _writable(output, recompression.expanded_bytes(size, pieces)) as memory:
        at = 0
        for offset, length in recompression.gaps(size, pieces):
            if os.preadv(base, [memory[at : at + length]], offset) != length:
                raise InvalidArgument("the image that is there has become shorter")
            at += length
        for piece in pieces:
            data = os.pread(base, piece.size_bytes, piece.offset_bytes)
            with memory[at : at + piece.plain_bytes] as target:
                if recipe.kernel is not None and piece is recipe.kernel.old:
                    xz_stream.decompress(data, target)
                    relocation.relocate(target, recipe.kernel.moves)
                else:
                    target[:] = micro_lzma.decompress(
                        data, piece.plain_bytes, recipe.dictionary_bytes
                    )
            at += piece.plain_bytes


def _collect(expanded: int, recipe: Recipe, output: int, size: int) -> None:
    """Make *output* the image of *size* bytes out of *expanded*: the other way round."""
    pieces = recipe.pieces[1]
    with (
        mmap.mmap(expanded, 0) as source,
        memoryview(source) as data,
        _writable(output, size) as memory,
    ):
        at = 0
        for offset, length in recompression.gaps(size, pieces):
            memory[offset : offset + length] = data[at : at + length]
            at += length
        for piece in pieces:
            with data[at : at + piece.plain_bytes + piece.ahead_bytes] as held:
                made = _compressed(held, piece, recipe)
            memory[piece.offset_bytes : piece.offset_bytes + piece.size_bytes] = made
            at += piece.plain_bytes


def _compressed(held: memoryview, piece: Cluster, recipe: Recipe) -> bytes:
    """What *piece* of the new image is, as long as it has to be."""
    kernel = recipe.kernel
    if kernel is not None and piece is kernel.new:
        made = xz_stream.compress(held, kernel.dictionary_bytes, piece.size_bytes)
        taken = piece.plain_bytes
    else:
        made, taken = micro_lzma.compress(
            bytes(held), piece.size_bytes, recipe.level, recipe.dictionary_bytes
        )
    if taken != piece.plain_bytes or len(made) != piece.size_bytes:
        raise InvalidArgument("a cluster comes out with something else in it")
    return made


@contextlib.contextmanager
def _writable(descriptor: int, size: int) -> Iterator[memoryview]:
    """The *size* bytes of a file as memory. All of it has room at once: to find none later would be
    a signal instead of an error."""
    os.posix_fallocate(descriptor, 0, size)
    with mmap.mmap(descriptor, size) as memory, memoryview(memory) as view:
        yield view


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
