"""Copying between a connection and two descriptors, both ways at once, each way ending by itself.

This is `docker system dial-stdio` and the live part of `exec`. When one side has no more to say the
other is told so by a half-close, and what comes back is still delivered: a reader that ends its
input still wants the answer.
"""

from __future__ import annotations

import os
import select
from _socket import SHUT_WR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable

READ_BYTES = 64 << 10


def relay(
    connection: socket, stdin: int | None, stdout: int, deliver: Callable[[bytes], None]
) -> None:
    """Send what comes from *stdin* and hand what is received to *deliver*, until the peer ends.

    *stdin* may be None: nothing is sent. *stdout* is only watched: when its reader goes, an engine
    that has nothing to say would otherwise keep this process for ever. Sending blocks while the
    peer does not read; that is back-pressure, and an engine reads and writes independently.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    poll.register(stdout, 0)
    if stdin is not None:
        poll.register(stdin, select.POLLIN)
    while True:
        for descriptor, events in poll.poll():
            if descriptor == connection.fileno():
                if not _receive(connection, deliver):
                    return
            elif descriptor == stdin and events & select.POLLIN:
                if not _send(connection, descriptor):
                    poll.unregister(descriptor)
            elif descriptor == stdin:  # hung up, nothing left to read
                _end(connection)
                poll.unregister(descriptor)
            else:
                return


def _receive(connection: socket, deliver: Callable[[bytes], None]) -> bool:
    try:
        data = connection.recv(READ_BYTES)
    except ConnectionResetError:
        return False
    if data:
        deliver(data)
    return bool(data)


def _send(connection: socket, stdin: int) -> bool:
    try:
        data = os.read(stdin, READ_BYTES)
    except OSError:  # a terminal that hung up
        data = b""
    if not data:
        _end(connection)
        return False
    try:
        connection.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        return False  # the peer listens no more; what it still says is read to its end
    return True


def _end(connection: socket) -> None:
    try:
        connection.shutdown(SHUT_WR)
    except OSError:  # the peer was quicker
        pass


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of *data* to *descriptor*."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
