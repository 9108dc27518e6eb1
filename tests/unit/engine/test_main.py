"""What `orlop engine` does around the engine."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import TYPE_CHECKING, Any

from orlop.engine import engine as engine_module
from orlop.engine import main
from orlop.engine.options import parse
from orlop.engine.tasks import TaskSet
from orlop.lib import priority

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_who_comes_before_the_engine_is_up_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sock"
    answers: list[bytes] = []

    class Engine:
        """Answers one client, who came while it started."""

        layered = None
        tasks = TaskSet()

        def __init__(self, _settings: object) -> None:
            self.client = socket.socket(socket.AF_UNIX)

        async def start(self) -> None:
            self.client.connect(os.fspath(path))

        async def serve(self, _path: Path, *, listening_fd: int) -> None:
            with socket.socket(fileno=listening_fd) as listening:
                listening.setblocking(True)
                accepted, _ = listening.accept()
            accepted.sendall(b"late")
            accepted.close()
            answers.append(self.client.recv(10))
            os.kill(os.getpid(), signal.SIGTERM)

        async def close(self) -> None:
            self.client.close()
            await self.tasks.close()

    fake: Any = Engine
    monkeypatch.setattr(engine_module, "Engine", fake)
    monkeypatch.setattr(priority, "go_first", lambda: None)
    options = parse([f"--data={tmp_path}/data", f"--socket={path}", "--no-networks"])
    asyncio.run(main.serve(options))
    assert answers == [b"late"]
