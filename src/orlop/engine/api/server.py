"""Listens on a Unix socket and has each request answered by its route."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import math
import os
import resource
import socket
import stat
from typing import TYPE_CHECKING

from orlop.engine.api.connection import Connection
from orlop.engine.api.errors import status_of
from orlop.engine.api.exchange import Exchange, encode_json
from orlop.engine.api.hangup import HangupWatch
from orlop.lib.accepting import Acceptor
from orlop.lib.errors import OrlopError
from orlop.wire.docker.body import JSON_TYPE
from orlop.wire.http import BadRequest

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.engine.api.router import Router
    from orlop.engine.tasks import TaskSet
    from orlop.wire.http import RequestHead

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 1024
"""Of clients. One more makes another go: one without a request, or else the one that has been
silent for longest in the midst of its request."""

BACKLOG = 4096
"""The kernel's own limit. Clients do not wait: with one more they are told EAGAIN."""

OWN_ROUTES = "/orlop/"
"""How the targets begin that are not Docker's."""

SHORTAGES = {
    errno.EMFILE: "the engine has no file descriptors left",
    errno.ENFILE: "the machine has no file descriptors left",
    errno.ENOMEM: "the machine has no memory left",
    errno.EAGAIN: "the machine has no processes left",
    errno.ENOSPC: "a disk of the engine is full",
    errno.EDQUOT: "a disk of the engine is full",
}
"""Of which the machine has too little for a request, and no fault of the engine's."""

API_VERSION = "1.47"
MIN_API_VERSION = "1.24"


class ApiServer:
    """One listening socket and its connections."""

    def __init__(self, path: Path, router: Router, tasks: TaskSet, version: str) -> None:
        self.path = path
        self._router = router
        self._tasks = tasks
        self._connections: dict[Connection, None] = {}
        # Half of the descriptors are for everything else.
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most = min(MAX_CONNECTIONS, descriptors // 2)
        self._socket: socket.socket | None = None
        self._acceptor: Acceptor | None = None
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
        self._socket = listening or listen(self.path, mode)
        # And not asyncio's server: without descriptors that one tries, and logs, hundreds of times.
        self._acceptor = Acceptor(self._socket, self._take)
        self._acceptor.start()

    def inheritable(self) -> int:
        """The listening descriptor, made to outlive `execve`."""
        assert self._socket is not None, "start() comes first"
        descriptor = self._socket.fileno()
        os.set_inheritable(descriptor, True)
        return descriptor

    async def close(self) -> None:
        """Stop listening and cut all connections."""
        if self._acceptor is not None and self._socket is not None:
            self._acceptor.close()
            self._socket.close()
            with contextlib.suppress(OSError):
                self.path.unlink()
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

    def _take(self, connection: socket.socket) -> None:
        self._tasks.start(self.accept(connection), "api connection")

    def _make_connection(self) -> Connection:
        return Connection(self._answer, self._opened, self._closed, self._headers, self._hangups)

    def _opened(self, connection: Connection) -> bool:
        if len(self._connections) >= self._most:
            other = self._least_missed()
            if other is None:
                return False
            del self._connections[other]
            other.abort()
        self._connections[connection] = None
        connection.task = self._tasks.start(connection.run(), "api connection")
        return True

    def _least_missed(self) -> Connection | None:
        """The connection that goes for a new one."""
        silent: tuple[Connection | None, float] = (None, math.inf)
        for connection in self._connections:
            if connection.is_idle:
                return connection
            since_s = connection.silent_since_s
            if since_s is not None and since_s < silent[1]:
                silent = connection, since_s
        return silent[0]

    def _closed(self, connection: Connection) -> None:
        self._connections.pop(connection, None)

    async def _answer(self, connection: Connection, head: RequestHead) -> None:
        exchange: Exchange | None = None
        try:
            exchange = Exchange(connection, head)
            await self._router.dispatch(exchange)
        except OrlopError as error:
            # What to try is for our own commands: Docker's clients know no such member.
            hint = error.hint if head.target.startswith(OWN_ROUTES) else None
            await _fail(connection, head, exchange, status_of(error), str(error), hint)
        except (ConnectionError, TimeoutError):
            connection.abort()
        except BadRequest:
            raise  # the connection answers, if it can
        except Exception as error:
            if isinstance(error, OSError) and error.errno in SHORTAGES:
                text = f"{SHORTAGES[error.errno]}: {error}"
                log.warning("%s %s: %s", head.method, head.target[:200], text)
                await _fail(connection, head, exchange, 503, text)
                return
            log.exception("%s %s failed", head.method, head.target[:200])
            await _fail(connection, head, exchange, 500, _describe(error))


def _describe(error: Exception) -> str:
    """What a client is told: of a disk that is full or broken what it is, else that we failed."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return f"internal error: {error!r}"


async def _fail(
    connection: Connection,
    head: RequestHead,
    exchange: Exchange | None,
    status: int,
    message: str,
    hint: str | None = None,
) -> None:
    if exchange is not None and exchange.responded:
        # Too late for a status: cutting the connection tells that the answer is not whole.
        log.debug("%s %s broke off: %s", head.method, head.target[:200], message)
        connection.abort()
        return
    if exchange is None:
        # The target cannot be taken apart.
        body = encode_json({"message": message}) + b"\n"
        length = ("Content-Length", str(len(body)))
        await connection.respond(status, [("Content-Type", JSON_TYPE), length], body)
        return
    if status == 304:
        await exchange.respond_empty(304)
    else:
        more = {"hint": hint} if hint else {}
        await exchange.respond_json(status, {"message": message, **more})


def listen(path: Path, mode: int) -> socket.socket:
    """A socket at *path*, in place of one that was left there; who connects waits for `ApiServer`.

    Raises:
        OSError: it cannot be made.
    """
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
