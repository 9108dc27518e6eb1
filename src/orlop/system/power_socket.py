"""The power service's only way to speak: one word on a socket.

Accepts exactly `poweroff` or `reboot` and a newline, from the root-only socket
/run/orlop/power.sock, which is mounted into services with `x-orlop.power`. Anything else is dropped
and logged. The descriptor survives a re-execution, since containers have the socket mounted.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import TYPE_CHECKING

from orlop.system.power import PowerAction

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

WORDS = {b"poweroff\n": PowerAction.POWEROFF, b"reboot\n": PowerAction.REBOOT}
MAX_WORD_BYTES = 16
TIMEOUT_S = 5.0


class PowerSocket:
    """The listening end. *descriptor* of an earlier execution is taken over."""

    def __init__(self, path: str, request: Callable[[PowerAction], None]) -> None:
        self.path = path
        self._request = request
        self._socket: socket.socket | None = None

    @property
    def descriptor(self) -> int:
        return -1 if self._socket is None else self._socket.fileno()

    def open(self, descriptor: int = -1) -> None:
        """Listen; an old socket in the file system is replaced.

        Raises:
            OSError: it cannot be made.
        """
        if descriptor >= 0:
            self._socket = socket.socket(fileno=descriptor)
            os.set_inheritable(descriptor, False)
        else:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            if os.path.lexists(self.path):
                os.unlink(self.path)
            self._socket.bind(self.path)
            os.chmod(self.path, 0o600)
            self._socket.listen(4)
        self._socket.setblocking(False)

    async def serve(self) -> None:
        """Answer one client after the other, for ever: there is one, and it says one word."""
        assert self._socket is not None, "open() comes first"
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(self._socket)
            with client:
                try:
                    async with asyncio.timeout(TIMEOUT_S):
                        word = await read_word(client)
                except OSError as error:  # TimeoutError is one
                    log.warning("power socket: no word (%r), ignoring", error)
                    continue
            action = WORDS.get(word)
            if action is None:
                log.warning("power socket: %r is no known word, ignoring", word)
            else:
                self._request(action)


async def read_word(client: socket.socket) -> bytes:
    """What *client* sends up to and with a newline, its end, or `MAX_WORD_BYTES`."""
    loop = asyncio.get_running_loop()
    client.setblocking(False)
    word = b""
    while not word.endswith(b"\n") and len(word) < MAX_WORD_BYTES:
        data = await loop.sock_recv(client, MAX_WORD_BYTES - len(word))
        if not data:
            break
        word += data
    return word
