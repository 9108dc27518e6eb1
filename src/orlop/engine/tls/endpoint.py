"""The API on TCP with certificates of the machine's own authority, which are made when it begins.

What makes them is a process of its own: OpenSSL is large, and the engine stays. It is made sure at
each start that the server's certificate is whole, lasts, and is for the machine's addresses.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING

from orlop.engine.tls.listener import TlsFiles, TlsListener
from orlop.engine.worker_process import worker_argv
from orlop.lib.authority import CA, SERVER, SERVER_KEY
from orlop.lib.errors import OrlopError

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.engine.engine import Engine

log = logging.getLogger(__name__)

ADDRESS_S, LOOK_S = 30.0, 0.5
"""How long it waits for the network to give the machine an address, and how often it looks."""
AGAIN_S = 30.0
WORKER_S = 120.0

_ELSEWHERE = (
    (socket.AF_INET, "192.0.2.1"),
    (socket.AF_INET6, "2001:db8::1"),
)
"""Addresses that nobody has; nothing is sent to them."""


def own_addresses() -> list[str]:
    """The addresses from which the machine would talk to others."""
    found = []
    for family, elsewhere in _ELSEWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.connect((elsewhere, 9))
                found.append(sock.getsockname()[0])
        except OSError:
            continue  # no route: no address of that family
    return found


class TlsEndpoint:
    """At *address*, as *settings* has it under `tls`, with the certificates in *directory*."""

    def __init__(self, engine: Engine, address: str, settings: Path, directory: Path) -> None:
        self._engine, self._address = engine, address
        self._settings, self._directory = settings, directory
        self._listener: TlsListener | None = None

    async def start(self) -> None:
        """Listen, as soon as that can be done; never raises."""
        await self._wait_for_address()
        while True:
            try:
                port = await self._listen()
            except (OrlopError, OSError) as error:
                log.error("the API over TLS: %s, trying again", error)
                await asyncio.sleep(AGAIN_S)
            else:
                log.info("serving TLS on port %d", port)
                return

    def close(self) -> None:
        """End it, with all its connections."""
        if self._listener is not None:
            self._listener.close()

    async def _wait_for_address(self) -> None:
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + ADDRESS_S
        while not own_addresses() and loop.time() < deadline_s:
            await asyncio.sleep(LOOK_S)

    async def _listen(self) -> int:
        argv = worker_argv(
            "certificates", str(self._settings), str(self._directory), *own_addresses()
        )
        status, output = await self._engine.children.run(argv, timeout_s=WORKER_S)
        if not status.ok:
            lines = output.decode(errors="replace").strip().splitlines()
            raise OrlopError(lines[-1] if lines else f"certificates: status {status.code}")
        files = TlsFiles(*(str(self._directory / name) for name in (CA, SERVER, SERVER_KEY)))
        self._listener = TlsListener(self._engine, self._address, files)
        try:
            return await self._listener.start()
        except BaseException:
            self._listener.close()
            raise
