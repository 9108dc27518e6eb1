"""Connections of the API: how many there may be, and which one goes for a new one."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from orlop.engine.api import server
from orlop.engine.api.router import Route, Router
from orlop.engine.tasks import TaskSet

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from orlop.engine.api.exchange import Exchange

PLACES = 3
HEAD = b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"


class Clients:
    """Those of the API at *path*."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writers: list[asyncio.StreamWriter] = []

    async def ask(self, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_unix_connection(self._path)
        self._writers.append(writer)
        writer.write(data)
        return reader, writer

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


def test_a_body_that_does_not_go_on_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not one that goes on, nor a request that somebody works at."""
    monkeypatch.setattr(server, "MAX_CONNECTIONS", PLACES)
    begun: asyncio.Queue[str] = asyncio.Queue()

    async def take(exchange: Exchange) -> None:
        async for part in exchange.body_parts():
            begun.put_nowait(part.decode())
        await exchange.respond_json(200, {})

    async def work(_exchange: Exchange) -> None:
        begun.put_nowait("work")
        await asyncio.Event().wait()

    async def trial(clients: Clients) -> None:
        worked_at, _ = await clients.ask(b"GET /work HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await begun.get() == "work"
        slow, writer = await clients.ask(HEAD + b"a")
        assert await begun.get() == "a"
        stuck, _ = await clients.ask(HEAD + b"b")
        assert await begun.get() == "b"
        writer.write(b"c")
        assert await begun.get() == "c"

        new, _ = await clients.ask(HEAD + b"whol")
        assert (await new.readline()).split()[1] == b"200"
        with contextlib.suppress(ConnectionResetError):
            assert await stuck.read() == b""
        writer.write(b"de")
        assert (await slow.readline()).split()[1] == b"200"
        assert not worked_at.at_eof()

    async def run() -> None:
        tasks, clients = TaskSet(), Clients(tmp_path / "sock")
        router = Router([Route("POST", "/take", take), Route("GET", "/work", work)])
        api = server.ApiServer(tmp_path / "sock", router, tasks, "1")
        await api.start(mode=0o600)
        try:
            await asyncio.wait_for(trial(clients), 30)
        finally:
            clients.close()
            await api.close()
            await tasks.close()

    asyncio.run(run())
