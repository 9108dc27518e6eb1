"""Files that share their blocks until one is written to: XFS, Btrfs, and others that can."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_FICLONE = 0x40049409
"""linux/fs.h."""
_BLOCK = 65536
"""At least a block of any of them."""


def clone(reading: int, writing: int) -> None:
    """Have the empty file *writing* share all that the file *reading* has, holes too.

    Raises:
        OSError: the file system cannot, or they are on two; nothing has changed then.
    """
    fcntl.ioctl(writing, _FICLONE, reading)


def is_possible(directory: Path) -> bool:
    """Whether files of the file system of *directory* can be cloned. Blocks."""
    flags = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
    opened: list[int] = []
    try:
        opened += [os.open(directory, flags, 0o600), os.open(directory, flags, 0o600)]
        os.write(opened[0], bytes(_BLOCK))
        clone(*opened)
    except OSError:
        return False
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return True
