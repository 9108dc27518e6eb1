"""An engine without file descriptors refuses, and goes on when there are some again."""

from __future__ import annotations

import os
import resource
import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.engine.containers.engine_host import UserEngine

pytestmark = [pytest.mark.root, pytest.mark.engine]

SLEEP = ["sleep", "100000"]


def limit(engine: UserEngine, count: int) -> None:
    hard = resource.prlimit(engine.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(engine.pid, resource.RLIMIT_NOFILE, (count, hard))


def test_without_descriptors_requests_are_refused_and_containers_go_on(
    user_engine: UserEngine,
) -> None:
    engine = user_engine
    many = resource.prlimit(engine.pid, resource.RLIMIT_NOFILE)[0]
    engine.run("talks", ["sh", "-c", "while sleep 0.2; do echo still here; done"])
    engine.create("box", SLEEP)
    engine.wait_until(lambda: engine.logs("talks"))
    open_now = engine.descriptors()

    limit(engine, open_now + 3)
    status, answer = engine.request("POST", "/containers/box/start")
    assert status in (500, 503), answer
    assert "Too many open files" in answer["message"]
    limit(engine, open_now)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(engine.socket_path))
        lines = engine_lines(engine)
        engine.wait_until(lambda: engine_lines(engine) > lines)  # its output is still written

        limit(engine, many)

    engine.wait_until(engine.answers)
    assert engine.request("POST", "/containers/box/start")[0] == 204
    assert engine.execute("talks", ["true"])[0] == 0
    assert engine.descriptors() <= open_now + 8


def engine_lines(engine: UserEngine) -> int:
    """How much of a container's output is on disk."""
    (path,) = (engine.directory / "data/containers").glob("*/logs/log")
    return path.read_bytes().count(b"still here")
