"""The name server of one container: at 127.0.0.11 in its namespace, run by the engine.

It knows the names of the container's networks, and asks the host's name servers for all others,
from the host's namespace. The container may send what it likes: everything has a bound, what is
not a question is dropped, and only the question of a message is looked into.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from typing import TYPE_CHECKING, Any, Protocol

from orlop.lib.accepting import Acceptor
from orlop.lib.errors import InvalidArgument
from orlop.wire import dns

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from orlop.engine.tasks import TaskSet

log = logging.getLogger(__name__)

PORT = 53
TTL_S = 10
"""Containers come back with other addresses: an answer is not for keeping."""

MAX_QUERY_BYTES = 4096
MAX_ANSWER_BYTES = 65535
MAX_FORWARDED = 128
"""Questions of one container that wait for an answer from outside; further ones get none."""

MAX_CONNECTIONS = 16
DATAGRAMS_PER_TURN = 16
SERVER_TIMEOUT_S = 3.0
IDLE_TIMEOUT_S = 10.0


class Resolver(Protocol):
    """What a name server answers from."""

    def lookup(self, query: dns.Query) -> list[bytes] | None:
        """Data of the records of the question's type; None: not a name of ours."""

    def upstream(self) -> tuple[str, ...]:
        """Addresses of the name servers to ask for other names; empty: it may not ask any."""


class NameServer:
    """Made with sockets that are bound in the container's namespace."""

    def __init__(
        self, udp: socket.socket, tcp: socket.socket, resolver: Resolver, tasks: TaskSet
    ) -> None:
        self._udp = udp
        self._tcp = tcp
        self._resolver = resolver
        self._host_tasks = tasks
        self._tasks: set[asyncio.Task[None]] = set()
        self._acceptor = Acceptor(tcp, self._take)
        self._forwarded = 0
        self._connections = 0

    def start(self) -> None:
        """Begin to answer."""
        for sock in (self._udp, self._tcp):
            sock.setblocking(False)
        asyncio.get_running_loop().add_reader(self._udp.fileno(), self._datagrams)
        self._acceptor.start()

    def close(self) -> None:
        """Stop; whoever waits gets no answer."""
        asyncio.get_running_loop().remove_reader(self._udp.fileno())
        self._acceptor.close()
        self._udp.close()
        self._tcp.close()
        for task in self._tasks:
            task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._host_tasks.start(work, "name server")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _datagrams(self) -> None:
        for _ in range(DATAGRAMS_PER_TURN):
            try:
                data, peer = self._udp.recvfrom(MAX_QUERY_BYTES)
            except OSError:
                return

            def reply(answer: bytes, to: Any = peer) -> None:
                with contextlib.suppress(OSError):
                    self._udp.sendto(answer, to)

            try:
                query = dns.decode_query(data)
            except InvalidArgument:
                continue
            answer = self._answer(query, dns.MAX_UDP_BYTES)
            if answer is not None:
                reply(answer)
            elif self._forwarded < MAX_FORWARDED:
                self._spawn(self._pass_on(data, query, reply))

    def _answer(self, query: dns.Query, limit_bytes: int) -> bytes | None:
        """What is known here; None: others are to be asked."""
        if not dns.is_query(query):
            return dns.encode_failure(query, dns.Code.NOT_IMPLEMENTED)
        found = self._resolver.lookup(query)
        if found is not None:
            return dns.encode_response(query, found, ttl_s=TTL_S, limit_bytes=limit_bytes)
        if not self._resolver.upstream():
            return dns.encode_failure(query, dns.Code.SERVER_FAILURE)
        return None

    async def _pass_on(self, data: bytes, query: dns.Query, reply: Callable[[bytes], None]) -> None:
        self._forwarded += 1
        try:
            answer = await forward(data, query, self._resolver.upstream(), is_tcp=False)
        finally:
            self._forwarded -= 1
        reply(answer or dns.encode_failure(query, dns.Code.SERVER_FAILURE))

    def _take(self, client: socket.socket) -> None:
        if self._connections >= MAX_CONNECTIONS:
            client.close()
            return
        self._connections += 1
        self._spawn(self._serve(client))

    async def _serve(self, client: socket.socket) -> None:
        try:
            with client, contextlib.suppress(OSError, TimeoutError, EOFError, InvalidArgument):
                while True:
                    async with asyncio.timeout(IDLE_TIMEOUT_S):
                        data = await _receive(client, MAX_QUERY_BYTES)
                    query = dns.decode_query(data)
                    answer = self._answer(query, MAX_ANSWER_BYTES)
                    if answer is None:
                        upstream = self._resolver.upstream()
                        answer = await forward(data, query, upstream, is_tcp=True)
                    answer = answer or dns.encode_failure(query, dns.Code.SERVER_FAILURE)
                    async with asyncio.timeout(IDLE_TIMEOUT_S):
                        await _send(client, answer)
        finally:
            self._connections -= 1


async def forward(
    data: bytes, query: dns.Query, servers: tuple[str, ...], *, is_tcp: bool
) -> bytes | None:
    """Ask *servers* one after the other; the first answer, or None."""
    for server in servers:
        id_ = int.from_bytes(os.urandom(2))
        try:
            async with asyncio.timeout(SERVER_TIMEOUT_S):
                answer = await _ask(server, dns.with_id(data, id_), id_, query, is_tcp=is_tcp)
        except (OSError, TimeoutError, EOFError):
            continue
        return dns.with_id(answer, query.id)
    return None


async def _ask(server: str, data: bytes, id_: int, query: dns.Query, *, is_tcp: bool) -> bytes:
    loop = asyncio.get_running_loop()
    family, address = _address(server)
    kind = socket.SOCK_STREAM if is_tcp else socket.SOCK_DGRAM
    with socket.socket(family, kind | socket.SOCK_CLOEXEC) as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, address)
        if is_tcp:
            await _send(sock, data)
        else:
            sock.send(data)
        while True:
            if is_tcp:
                answer = await _receive(sock, MAX_ANSWER_BYTES)
            else:
                answer = await loop.sock_recv(sock, MAX_ANSWER_BYTES)
            if dns.answers_to(answer, id_, query.question):
                return answer


def _address(server: str) -> tuple[int, tuple[Any, ...]]:
    """A name server of resolv.conf, which may have a zone, as a socket wants it."""
    text, _, zone = server.partition("%")
    if ":" not in text:
        return socket.AF_INET, (text, PORT)
    scope = 0
    if zone:
        scope = int(zone) if zone.isdecimal() else socket.if_nametoindex(zone)
    return socket.AF_INET6, (text, PORT, 0, scope)


async def _receive(sock: socket.socket, limit_bytes: int) -> bytes:
    """A message behind its length, as TCP has them.

    Raises:
        EOFError: the end. InvalidArgument: longer than *limit_bytes*.
    """
    length = int.from_bytes(await _receive_exactly(sock, 2))
    if length > limit_bytes:
        raise InvalidArgument(f"dns: a message of {length} bytes")
    return await _receive_exactly(sock, length)


async def _receive_exactly(sock: socket.socket, length: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < length:
        part = await loop.sock_recv(sock, length - len(data))
        if not part:
            raise EOFError
        data += part
    return data


async def _send(sock: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, len(data).to_bytes(2) + data)
