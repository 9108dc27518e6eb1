"""The API on TCP, behind TLS that knows its clients: the engine's side of `engine.tls.worker`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from orlop.engine.settings import MARK_API
from orlop.engine.worker_process import worker_argv
from orlop.lib.errors import InvalidArgument, OrlopError
from orlop.lib.linux import mark_socket

if TYPE_CHECKING:
    from orlop.engine.engine import Engine
    from orlop.lib.children import Child, ExitStatus

log = logging.getLogger(__name__)

BACKLOG = 128
START_S = 30.0
AGAIN_S = 1.0
"""Between the end of a worker and the next one."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files in PEM: who signs clients, and the server's certificate with its key."""

    ca: str
    cert: str
    key: str


def parse_address(text: str) -> tuple[str, int]:
    """`HOST:PORT`, `[V6]:PORT` or `:PORT`; perhaps with `tcp://` before.

    Raises:
        InvalidArgument: it is none of these.
    """
    host, colon, port = text.removeprefix("tcp://").rpartition(":")
    if not colon or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise InvalidArgument(f"not an address and port: {text}")
    return host.removeprefix("[").removesuffix("]"), int(port)


class TlsListener:
    """One address. The listening socket is kept while workers come and go."""

    def __init__(self, engine: Engine, address: str, files: TlsFiles) -> None:
        self._engine, self._files = engine, files
        self._host, self._port = parse_address(address)
        self._listening: socket.socket | None = None
        self._control: socket.socket | None = None
        self._child: Child | None = None
        self._closed = False

    async def start(self) -> int:
        """Listen; the port.

        Raises:
            OrlopError: the address is taken, or a file is missing or wrong.
        """
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            self._listening = socket.create_server(
                (self._host, self._port), family=family, backlog=BACKLOG
            )
            mark_socket(self._listening, MARK_API)
        except OSError as error:
            raise OrlopError(f"cannot listen on {self._host}:{self._port}: {error}") from error
        await self._start_worker()
        port: int = self._listening.getsockname()[1]
        return port

    def close(self) -> None:
        """End the worker and all its connections."""
        self._closed = True
        self._close_control()
        if self._listening is not None:
            self._listening.close()

    async def _start_worker(self) -> None:
        assert self._listening is not None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            self._child = await self._engine.children.spawn_patiently(
                worker_argv("tls", json.dumps(asdict(self._files))),
                fds={2: 2, 3: self._listening.fileno(), 4: theirs.fileno()},
                new_session=True,
            )
        finally:
            theirs.close()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(START_S):
                answer = await loop.sock_recv(ours, 4096)
        except TimeoutError:
            answer = b"it does not start"
        if answer != b"ready":
            ours.close()
            reason = answer.decode(errors="replace") or "it ended"
            raise OrlopError(f"cannot serve TLS: {reason}")
        self._control = ours
        loop.add_reader(ours, self._receive)
        self._child.on_exit(self._ended)

    def _receive(self) -> None:
        assert self._control is not None
        try:
            data, descriptors, _flags, _address = socket.recv_fds(self._control, 64, 4)
        except OSError:
            return
        if not data:
            self._close_control()
            return
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
            connection = socket.socket(fileno=descriptor)
            connection.setblocking(False)
            self._engine.tasks.start(self._engine.accept(connection), "api connection over TLS")

    def _ended(self, status: ExitStatus) -> None:
        self._close_control()
        if not self._closed:
            log.warning("the TLS worker ended with status %d, starting another", status.code)
            self._engine.tasks.start(self._start_again(), "TLS worker")

    async def _start_again(self) -> None:
        while not self._closed:
            await asyncio.sleep(AGAIN_S)
            try:
                await self._start_worker()
                return
            except (OrlopError, OSError) as error:
                log.warning("%s, trying again", error)

    def _close_control(self) -> None:
        if self._control is not None:
            with contextlib.suppress(ValueError):
                asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
            self._control = None
