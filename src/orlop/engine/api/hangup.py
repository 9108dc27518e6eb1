"""Tells when the peer of a half-closed socket has closed the other half too.

A client that closes its sending side may still be reading, so its end-of-file is no reason to stop.
When it is gone altogether the kernel reports a hang-up, which asyncio's transport does not look
for once it has seen the end-of-file. An epoll of its own, in which sockets are registered for
nothing but that, is one more descriptor in the loop.
"""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class HangupWatch:
    """For the connections of one server. A closed socket leaves by itself."""

    def __init__(self) -> None:
        self._epoll: select.epoll | None = None
        self._callbacks: dict[int, Callable[[], None]] = {}

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Call *callback* once when the peer of socket *fd* is gone."""
        if self._epoll is None:
            self._epoll = select.epoll()
            asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._ready)
        try:
            # No event asked for: EPOLLHUP and EPOLLERR are always reported.
            self._epoll.register(fd, select.EPOLLONESHOT)
        except FileExistsError:
            self._epoll.modify(fd, select.EPOLLONESHOT)
        self._callbacks[fd] = callback

    def close(self) -> None:
        if self._epoll is not None:
            asyncio.get_running_loop().remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None
        self._callbacks.clear()

    def _ready(self) -> None:
        assert self._epoll is not None
        for fd, _events in self._epoll.poll(0):
            callback = self._callbacks.pop(fd, None)
            if callback is not None:
                callback()
