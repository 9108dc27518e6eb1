"""What the kernel has kept of its own death, where the firmware has room for that (pstore).

Source: Linux Documentation/admin-guide/pstore-blk.rst, ABI/testing/pstore.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from orlop.lib import mount

if TYPE_CHECKING:
    from pathlib import Path

DIRECTORY = "/sys/fs/pstore"
MAX_BYTES = 16 << 10
KIND = "dmesg-"


def take(keep_in: Path, directory: str = DIRECTORY) -> bool:
    """Whether the kernel has panicked since this was asked last; what it said is kept. Blocks."""
    try:
        _mount(directory)
        names = sorted(name for name in os.listdir(directory) if name.startswith(KIND))
    except OSError:
        return False
    panicked = False
    text = b""
    for name in names:
        path = f"{directory}/{name}"
        try:
            with open(path, "rb") as stream:
                part = stream.read(MAX_BYTES)
            # Its first line says what it is: an oops that was survived is none.
            panicked = panicked or part.startswith(b"Panic")
            text += part
            os.unlink(path)
        except OSError:
            continue
    if text:
        try:
            keep_in.mkdir(mode=0o700, parents=True, exist_ok=True)
            (keep_in / "panic.txt").write_bytes(text[: 4 * MAX_BYTES])
        except OSError:
            pass  # it is for people only
    return panicked


def _mount(directory: str) -> None:
    try:
        mount.mount("pstore", directory, "pstore")
    except OSError as error:
        if error.errno != errno.EBUSY:  # it is mounted
            raise
