"""Accepting connections on the loop, also while the process has no descriptors left.

A connection that cannot be accepted stays in the queue of the socket, which so stays readable: to
try at once and again would be all that the loop does. So nobody looks for a while.
"""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

PER_TURN = 16
"""Connections accepted before others get their turn."""

RETRY_S = 1.0
"""As asyncio's own servers wait."""

_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Acceptor:
    """Gives each connection to *listening*, a socket that must not block, to *take*."""

    def __init__(self, listening: socket.socket, take: Callable[[socket.socket], None]) -> None:
        self._listening = listening
        self._take = take
        self._again: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to accept."""
        self._again = None
        asyncio.get_running_loop().add_reader(self._listening.fileno(), self._ready)

    def close(self) -> None:
        """Stop; comes before *listening* is closed."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        asyncio.get_running_loop().remove_reader(self._listening.fileno())

    def _ready(self) -> None:
        for _ in range(PER_TURN):
            try:
                client, _peer = self._listening.accept()
            except OSError as error:
                if error.errno in _SHORTAGES:
                    loop = asyncio.get_running_loop()
                    loop.remove_reader(self._listening.fileno())
                    self._again = loop.call_later(RETRY_S, self.start)
                return
            client.setblocking(False)
            self._take(client)
