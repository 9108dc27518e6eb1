"""The name server of a container, on loopback, with real sockets."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from orlop.engine.network import name_server
from orlop.engine.network.name_server import NameServer
from orlop.engine.tasks import TaskSet
from orlop.wire import dns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import pytest

LOOPBACK = "127.0.0.1"


class Names:
    """Knows `web`; asks *servers* for the others."""

    def __init__(self, *servers: str) -> None:
        self.servers = servers

    def lookup(self, query: dns.Query) -> list[bytes] | None:
        if query.name != "web":
            return None
        return [bytes([10, 0, 0, 2])] if query.type == dns.Type.A else []

    def upstream(self) -> tuple[str, ...]:
        return self.servers


def bound(kind: int, port: int = 0) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind)
    sock.bind((LOOPBACK, port))
    sock.setblocking(False)
    return sock


def with_server(names: Names, work: Callable[[int, int], Awaitable[None]]) -> None:
    async def main() -> None:
        tasks = TaskSet()
        udp, tcp = bound(socket.SOCK_DGRAM), bound(socket.SOCK_STREAM)
        tcp.listen()
        server = NameServer(udp, tcp, names, tasks)
        server.start()
        try:
            async with asyncio.timeout(10):
                await work(udp.getsockname()[1], tcp.getsockname()[1])
        finally:
            server.close()
            await tasks.close()

    asyncio.run(main())


async def ask(port: int, data: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    with bound(socket.SOCK_DGRAM) as sock:
        await loop.sock_connect(sock, (LOOPBACK, port))
        sock.send(data)
        return await loop.sock_recv(sock, 65535)


def code(answer: bytes) -> int:
    return answer[3] & 0x0F


def test_known_names_rubbish_and_names_nobody_may_ask_for() -> None:
    async def work(port: int, _tcp_port: int) -> None:
        for rubbish in (b"", b"x", bytes(600), b"\xff" * 40):
            with bound(socket.SOCK_DGRAM) as sock:
                sock.sendto(rubbish, (LOOPBACK, port))
        known = await ask(port, dns.encode_query(1, "WEB", dns.Type.A))
        assert bytes([10, 0, 0, 2]) in known
        other_type = await ask(port, dns.encode_query(2, "web", dns.Type.AAAA))
        assert (code(other_type), other_type[6:8]) == (0, b"\0\0")
        unknown = await ask(port, dns.encode_query(3, "elsewhere", dns.Type.A))
        assert code(unknown) == dns.Code.SERVER_FAILURE
        update = bytearray(dns.encode_query(4, "web", dns.Type.A))
        update[2] |= 5 << 3
        assert code(await ask(port, bytes(update))) == dns.Code.NOT_IMPLEMENTED

    with_server(Names(), work)


def test_other_names_are_asked_for_and_false_answers_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upstream = bound(socket.SOCK_DGRAM)
    monkeypatch.setattr(name_server, "PORT", upstream.getsockname()[1])

    async def work(port: int, _tcp_port: int) -> None:
        loop = asyncio.get_running_loop()
        asking = asyncio.ensure_future(ask(port, dns.encode_query(9, "far", dns.Type.A)))
        data, peer = await loop.sock_recvfrom(upstream, 512)
        query = dns.decode_query(data)
        wrong = dns.encode_response(query, [bytes(4)], ttl_s=1)
        upstream.sendto(dns.with_id(wrong, query.id ^ 1), peer)
        upstream.sendto(data, peer)
        upstream.sendto(dns.encode_response(query, [bytes([9, 9, 9, 9])], ttl_s=1), peer)
        answer = await asking
        assert answer[:2] == b"\0\x09"
        assert bytes([9, 9, 9, 9]) in answer

    with_server(Names(LOOPBACK), work)
    upstream.close()


def test_a_server_that_is_not_there_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with bound(socket.SOCK_DGRAM) as free:
        monkeypatch.setattr(name_server, "PORT", free.getsockname()[1])

    async def work(port: int, _tcp_port: int) -> None:
        answer = await ask(port, dns.encode_query(1, "far", dns.Type.A))
        assert code(answer) == dns.Code.SERVER_FAILURE

    with_server(Names(LOOPBACK, LOOPBACK), work)


def test_tcp() -> None:
    async def work(_udp_port: int, port: int) -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        for id_ in (1, 2):
            query = dns.encode_query(id_, "web", dns.Type.A)
            writer.write(len(query).to_bytes(2) + query[:5])
            await writer.drain()
            writer.write(query[5:])
            answer = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
            assert dns.answers_to(answer, id_, query[12:])
        writer.write(b"\xff\xff")
        assert await reader.read() == b"", "a message that is too long ends it"
        writer.close()

    with_server(Names(), work)
