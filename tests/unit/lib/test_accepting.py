"""Accepting connections, also without descriptors."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING

from orlop.lib import accepting
from orlop.lib.accepting import Acceptor

if TYPE_CHECKING:
    import pytest


class Listening(socket.socket):
    """A socket that fails to accept as often as it is told to."""

    failures = 0
    tries = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.tries += 1
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "too many open files")
        return super().accept()


def test_without_descriptors_it_waits_and_then_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "RETRY_S", 0.02)

    async def scenario() -> int:
        listening = Listening(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.setblocking(False)
        listening.bind("\0orlop-accepting-test")
        listening.listen()
        listening.failures = 3
        taken: asyncio.Queue[socket.socket] = asyncio.Queue()
        acceptor = Acceptor(listening, taken.put_nowait)
        acceptor.start()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect("\0orlop-accepting-test")
            async with asyncio.timeout(10):
                (await taken.get()).close()
        acceptor.close()
        listening.close()
        return listening.tries

    # Three that failed, one that did not, and one that found no more: no loop that spins.
    assert asyncio.run(scenario()) <= 5
