"""Published ports where the kernel cannot lead the way: from ::1, and from IPv6 to IPv4.

What arrives at the socket that holds a port was not led to the container by the nftables table.
It is passed on by this process, over the bridge, so the container sees the bridge's address. All
else, and all that matters for speed, never comes here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import TYPE_CHECKING, Any

from orlop.lib.accepting import Acceptor

if TYPE_CHECKING:
    from orlop.engine.network.model import PublishedPort
    from orlop.engine.tasks import TaskSet

type Peer = tuple[Any, ...]
"""An address as `recvfrom` gives it."""

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 128
"""Of one published port; more are refused."""

MAX_FLOWS = 128
"""UDP senders of one published port that may expect answers; the oldest makes room."""

BUFFER_BYTES = 64 << 10
CONNECT_TIMEOUT_S = 10.0
DATAGRAMS_PER_TURN = 32


class Relay:
    """Of one held port; *target* is the container's address."""

    def __init__(
        self, held: socket.socket, port: PublishedPort, target: str, tasks: TaskSet
    ) -> None:
        self._held = held
        self._target = (target, port.container_port)
        self._family = socket.AF_INET6 if ":" in target else socket.AF_INET
        self._tasks = tasks
        self._connections: set[asyncio.Task[None]] = set()
        self._flows: dict[Peer, socket.socket] = {}
        self._acceptor = None if port.protocol == "udp" else Acceptor(held, self._take)

    def start(self) -> None:
        """Begin to listen."""
        if self._acceptor is not None:
            self._acceptor.start()
        else:
            asyncio.get_running_loop().add_reader(self._held.fileno(), self._datagrams)

    def close(self) -> None:
        """Stop, before the held socket is closed; connections in progress are cut."""
        loop = asyncio.get_running_loop()
        if self._acceptor is not None:
            self._acceptor.close()
        else:
            loop.remove_reader(self._held.fileno())
        for task in self._connections:
            task.cancel()
        for flow in self._flows.values():
            loop.remove_reader(flow.fileno())
            flow.close()
        self._flows.clear()

    def _take(self, client: socket.socket) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            client.close()
            return
        task = self._tasks.start(self._serve(client), "relay of a published port")
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with (
            client,
            contextlib.suppress(OSError, TimeoutError, ExceptionGroup),
            socket.socket(self._family, socket.SOCK_STREAM) as upstream,
        ):
            upstream.setblocking(False)
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await loop.sock_connect(upstream, self._target)
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(client, upstream))
                both.create_task(_pump(upstream, client))

    def _datagrams(self) -> None:
        for _ in range(DATAGRAMS_PER_TURN):
            try:
                data, sender = self._held.recvfrom(BUFFER_BYTES)
            except OSError:
                return
            flow = self._flow(sender)
            if flow is not None:
                with contextlib.suppress(OSError):
                    flow.send(data)

    def _flow(self, sender: Peer) -> socket.socket | None:
        flow = self._flows.pop(sender, None)
        if flow is None:
            if len(self._flows) >= MAX_FLOWS:
                self._end_flow(next(iter(self._flows)))
            try:
                flow = socket.socket(self._family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            except OSError:
                return None
            try:
                flow.setblocking(False)
                flow.connect(self._target)
            except OSError:
                flow.close()
                return None
            asyncio.get_running_loop().add_reader(flow.fileno(), self._answers, flow, sender)
        # At the end: the first one is that which was quiet for longest.
        self._flows[sender] = flow
        return flow

    def _answers(self, flow: socket.socket, sender: Peer) -> None:
        for _ in range(DATAGRAMS_PER_TURN):
            try:
                data = flow.recv(BUFFER_BYTES)
                self._held.sendto(data, sender)
            except BlockingIOError:
                return
            except OSError:
                self._end_flow(sender)
                return

    def _end_flow(self, sender: Peer) -> None:
        flow = self._flows.pop(sender, None)
        if flow is not None:
            asyncio.get_running_loop().remove_reader(flow.fileno())
            flow.close()


async def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Pass on bytes until end-of-file, then that."""
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(source, BUFFER_BYTES):
        await loop.sock_sendall(sink, data)
    sink.shutdown(socket.SHUT_WR)
