"""Unix sockets by directory and name.

A socket's path may have 108 bytes, which a cache deep in a home directory or a test's temporary
directory exceeds. Going through `/proc/self/fd` makes any directory short.
"""

import os
import socket
from pathlib import Path


def connect_in(directory: Path, name: str) -> socket.socket:
    """Connect to the stream socket *name* in *directory*.

    Raises:
        OSError: there is none, or nobody listens.
    """
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{descriptor}/{name}")
        except OSError:
            connection.close()
            raise
        return connection
    finally:
        os.close(descriptor)
