"""Listens on a Unix socket and has each request answered by its route."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
from typing import TYPE_CHECKING

from orlop.engine.api.connection import Connection
from orlop.engine.api.errors import status_of
from orlop.engine.api.exchange import Exchange
from orlop.engine.api.hangup import HangupWatch
from orlop.lib.errors import OrlopError
from orlop.wire.http import BadRequest

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.engine.api.router import Router
    from orlop.engine.tasks import TaskSet
    from orlop.wire.http import RequestHead

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 512
BACKLOG = 256
API_VERSION = "1.47"
MIN_API_VERSION = "1.24"


class ApiServer:
    """One listening socket and its connections."""

    def __init__(self, path: Path, router: Router, tasks: TaskSet, version: str) -> None:
        self.path = path
        self._router = router
        self._tasks = tasks
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._socket: socket.socket | None = None
        self._hangups = HangupWatch()
        self._headers = (
            ("Api-Version", API_VERSION),
            ("Docker-Experimental", "false"),
            ("Ostype", "linux"),
            ("Server", f"Docker/{version} (linux)"),
        )

    async def start(self, *, mode: int, inherited_fd: int = -1) -> None:
        """Listen at `path`, replacing a socket left there; or on *inherited_fd*, which does.

        Raises:
            OSError: the socket cannot be made.
        """
        listening = _inherit(inherited_fd) if inherited_fd >= 0 else None
        self._socket = listening or _listen(self.path, mode)
        self._server = await asyncio.get_running_loop().create_unix_server(
            self._make_connection, sock=self._socket, backlog=BACKLOG
        )

    def inheritable(self) -> int:
        """The listening descriptor, made to outlive `execve`."""
        assert self._socket is not None, "start() comes first"
        descriptor = self._socket.fileno()
        os.set_inheritable(descriptor, True)
        return descriptor

    async def close(self) -> None:
        """Stop listening and cut all connections."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            if connection.task is not None:
                connection.task.cancel()
            connection.abort()
        # Connections are dropped in callbacks of the loop.
        await asyncio.sleep(0)
        self._hangups.close()

    async def accept(self, connection: socket.socket) -> None:
        """Serve *connection*, a stream that somebody else has accepted."""
        await asyncio.get_running_loop().connect_accepted_socket(self._make_connection, connection)

    def _make_connection(self) -> Connection:
        return Connection(self._answer, self._opened, self._closed, self._headers, self._hangups)

    def _opened(self, connection: Connection) -> bool:
        if len(self._connections) >= MAX_CONNECTIONS:
            return False
        self._connections.add(connection)
        connection.task = self._tasks.start(connection.run(), "api connection")
        return True

    def _closed(self, connection: Connection) -> None:
        self._connections.discard(connection)

    async def _answer(self, connection: Connection, head: RequestHead) -> None:
        exchange: Exchange | None = None
        try:
            exchange = Exchange(connection, head)
            await self._router.dispatch(exchange)
        except OrlopError as error:
            await _fail(connection, head, exchange, status_of(error), str(error))
        except (ConnectionError, TimeoutError):
            connection.abort()
        except BadRequest:
            raise  # the connection answers, if it can
        except Exception as error:
            log.exception("%s %s failed", head.method, head.target[:200])
            await _fail(connection, head, exchange, 500, f"internal error: {error!r}")


async def _fail(
    connection: Connection,
    head: RequestHead,
    exchange: Exchange | None,
    status: int,
    message: str,
) -> None:
    if exchange is not None and exchange.responded:
        # Too late for a status: cutting the connection tells that the answer is not whole.
        log.debug("%s %s broke off: %s", head.method, head.target[:200], message)
        connection.abort()
        return
    if exchange is None:
        # A target that cannot even be split: not a client of ours.
        connection.abort()
        return
    if status == 304:
        await exchange.respond_empty(304)
    else:
        await exchange.respond_json(status, {"message": message})


def _listen(path: Path, mode: int) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Nobody may connect in the moment between bind and chmod.
        previous = os.umask(0o777)
        try:
            listening.bind(os.fspath(path))
        finally:
            os.umask(previous)
        path.chmod(mode)
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def _inherit(descriptor: int) -> socket.socket | None:
    try:
        listening = socket.socket(fileno=descriptor)
        listening.setblocking(False)
    except OSError as error:
        log.warning("the API's socket was not handed over: %s, making a new one", error)
        return None
    return listening
