"""Reading a pipe on the event loop, without threads and without a buffer of one's own."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os

PIPE_BYTES = 1 << 20
"""What a large transfer wants a pipe to hold: fewer turns of the loop."""

_F_SETPIPE_SZ = 1031


class PipeReader:
    """The reading end of a pipe. Takes over the descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.fd = descriptor
        os.set_blocking(descriptor, False)
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, _F_SETPIPE_SZ, PIPE_BYTES)

    async def read(self, limit_bytes: int = PIPE_BYTES) -> bytes:
        """Some bytes; empty at the end."""
        while True:
            try:
                return os.read(self.fd, limit_bytes)
            except BlockingIOError:
                await _readable(self.fd)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(descriptor, wake)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)
