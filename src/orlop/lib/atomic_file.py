"""Files that are either the old ones or the new ones, whatever happens in between.

Written beside the target, synced, renamed over it, and the directory synced: after a power cut
the name holds one of the two contents, whole.
"""

from __future__ import annotations

import os
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

TEMPORARY_PREFIX = ".orlop-"
"""Names of files in the making begin with this; one found later is rubbish of a crash."""


def sync_directory(directory: Path) -> None:
    """Make the names in *directory* durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_temporaries(directory: Path) -> None:
    """Remove what a crash left in *directory* of files in the making; none may be in the making.

    Raises:
        OSError: it cannot be read, or one cannot be removed.
    """
    for name in os.listdir(directory):
        if name.startswith(TEMPORARY_PREFIX):
            os.unlink(directory / name)


@contextmanager
def replacing(path: Path, *, mode: int = 0o644, durable: bool = True) -> Iterator[BinaryIO]:
    """A file to write into, which replaces *path*, with permissions *mode*, when the block is done.

    With `durable=False` nothing is synced: for tmpfs, and for what may be lost but not torn.

    Raises:
        OSError: the directory is missing, full or read-only; *path* is untouched then.
    """
    # Not tempfile: it loads shutil, random and three compressors, which PID 1 does not need.
    name = path.parent / f"{TEMPORARY_PREFIX}{os.urandom(8).hex()}"
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            yield stream
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        os.rename(name, path)
    except BaseException:
        os.unlink(name)
        raise
    if durable:
        sync_directory(path.parent)


def write_bytes(path: Path, data: bytes, *, mode: int = 0o644, durable: bool = True) -> None:
    """Replace *path* by *data*, as `replacing`."""
    with replacing(path, mode=mode, durable=durable) as stream:
        stream.write(data)


def write_text(path: Path, text: str, *, mode: int = 0o644, durable: bool = True) -> None:
    """As `write_bytes`, in UTF-8."""
    write_bytes(path, text.encode(), mode=mode, durable=durable)
