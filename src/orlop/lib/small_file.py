"""Reading a file whose directory belongs to somebody who may have put anything there."""

from __future__ import annotations

import errno
import os
import stat


def read_regular(path: str, limit_bytes: int) -> bytes:
    """The first *limit_bytes* of *path*, which must be a regular file.

    No link is followed, and nothing is waited for: a pipe or a device is an error.

    Raises:
        OSError: ELOOP for a link, EINVAL for what is no regular file.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    with open(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        return stream.read(limit_bytes)
