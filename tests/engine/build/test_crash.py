"""An engine that is killed at each step of a build: the next one is whole, and builds."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.engine.build.conftest import context_of

if TYPE_CHECKING:
    from tests.engine.build.conftest import Builder

pytestmark = [pytest.mark.root, pytest.mark.engine]

DOCKERFILE = (
    "FROM scratch AS files\nCOPY a /x/a\n"
    "FROM busybox\nENV n=%d\nCOPY --from=files /x /y\n"
    "RUN --mount=type=cache,target=/c --mount=from=files,target=/m cat /m/x/a >/r; echo ran\n"
    "WORKDIR /w\nLABEL end=1\n"
)
LINES = 24
"""A whole build says about as many."""


def kill_after(builder: Builder, line: int) -> bool:
    """Begin a build and kill the engine when *line* lines have come; whether it had ended."""
    body = context_of({"Dockerfile": DOCKERFILE % line, "a": "A" * 100_000})
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(60)
    client.connect(str(builder.engine.socket_path))
    head = (
        f"POST /build?networkmode=none&t=crash HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}"
    )
    client.sendall(head.encode() + b"\r\n\r\n" + body)
    received = b""
    # Each message of the stream ends so; the head of the response has such ends too.
    while received.count(b'"}\r\n') < line and b"Successfully tagged" not in received:
        data = client.recv(4096)
        assert data, received
        received += data
    builder.engine.kill()
    client.close()
    return b"Successfully tagged" in received


@pytest.mark.parametrize("line", range(1, LINES, 5))
def test_a_kill_at_any_line(builder: Builder, line: int) -> None:
    kill_after(builder, line)
    _, text = builder.engine.check()
    # What was on its way out is no damage: the next start goes on with it.
    problems = [line for line in text.splitlines() if line.startswith("/")]
    assert [line for line in problems if "/trash/" not in line] == []
    builder.engine.start()
    engine = builder.engine
    engine.wait_until(lambda: not engine.request("GET", "/containers/json")[1])
    for container in engine.request("GET", "/containers/json?all=1")[1]:
        engine.request("DELETE", f"/containers/{container['Id']}?force=1")
    built = builder.ok(DOCKERFILE % line, {"a": "A" * 100_000}, networkmode="none")
    assert builder.output(built.image_id, "wc -c </r; ls /y; pwd") == "100000\na\n/w\n"
    staging = engine.store / "staging"
    engine.wait_until(lambda: not list(staging.iterdir()))
