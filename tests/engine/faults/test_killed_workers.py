"""A worker that is killed, as for memory, or stops in mid work: an error, and nothing is left."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engine.store.archives import LayerBuilder, busybox_layer, docker_archive
from tests.engine.store.conftest import StoreEngine, bare

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["bare"]

pytestmark = [pytest.mark.root, pytest.mark.engine]

BIG_BYTES = 40 << 20


@pytest.fixture
def engine(bare: StoreEngine) -> StoreEngine:
    bare.load(docker_archive([busybox_layer()], ["busybox:latest"]))
    return bare


def workers(engine: StoreEngine, name: str) -> list[int]:
    """The processes of worker *name* that the engine has started and that do not end."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if int(fields[1]) == engine.pid and fields[0] != "Z":
                position = words.index(b"worker")
                if words[position + 1] == name.encode():
                    found.append(int(entry.name))
    return found


@contextlib.contextmanager
def half(engine: StoreEngine, target: str, body: bytes) -> Iterator[socket.socket]:
    """A client that has sent all but the end of *body*."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(os.fspath(engine.socket_path))
        head = f"{target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body[: -(64 << 10)])
        yield connection


def answer(connection: socket.socket) -> bytes:
    """All there is until the engine has nothing more to say."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while not received.rstrip().endswith((b"}", b"0")) and (data := connection.recv(65536)):
            received += data
    return received


def archive() -> bytes:
    layer = LayerBuilder().add("noise", os.urandom(8 << 20)).finish()
    return docker_archive([layer], ["noise:1"])


def test_a_killed_load_is_an_error_and_leaves_nothing(engine: StoreEngine) -> None:
    with half(engine, "POST /images/load", archive()) as client:
        engine.wait_until(lambda: workers(engine, "store"))
        for pid in workers(engine, "store"):
            os.kill(pid, signal.SIGKILL)
        said = answer(client)
    assert b"limit on its time or memory" in said, said
    assert not list((engine.store / "staging").iterdir())
    engine.load(archive())


def test_a_stopped_load_ends_with_its_client(engine: StoreEngine) -> None:
    with half(engine, "POST /images/load", archive()):
        engine.wait_until(lambda: workers(engine, "store"))
        for pid in workers(engine, "store"):
            os.kill(pid, signal.SIGSTOP)
    engine.wait_until(lambda: not workers(engine, "store"))
    engine.wait_until(lambda: not list((engine.store / "staging").iterdir()))
    assert engine.request("GET", "/images/json")[0] == 200


def test_a_killed_copy_into_a_container_is_an_error(engine: StoreEngine) -> None:
    engine.create("box", ["true"])
    body = LayerBuilder().add("noise", os.urandom(8 << 20)).finish()
    with half(engine, "PUT /containers/box/archive?path=/", body) as client:
        engine.wait_until(lambda: workers(engine, "archive"))
        for pid in workers(engine, "archive"):
            os.kill(pid, signal.SIGKILL)
        said = answer(client)
    assert b" 500 " in said, said
    assert engine.send("PUT", "/containers/box/archive?path=/", body)[0] == 200
    assert engine.request("DELETE", "/containers/box")[0] == 204


@pytest.mark.parametrize(
    ("worker", "target"),
    [("archive", "GET /containers/box/archive?path=/big"), ("tree", "GET /containers/box/export")],
)
def test_a_killed_archive_is_cut_off(engine: StoreEngine, worker: str, target: str) -> None:
    engine.run("box", ["sh", "-c", f"yes | head -c {BIG_BYTES} > /big"])
    assert engine.wait("box") == 0
    descriptors = engine.descriptors()
    with half(engine, target, b"") as client:
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        engine.wait_until(lambda: workers(engine, worker))
        for pid in workers(engine, worker):
            os.kill(pid, signal.SIGKILL)
        received = bytearray()
        with contextlib.suppress(ConnectionError):
            while data := client.recv(1 << 20):
                received += data
    # The last piece of a whole answer says that it is the last.
    assert not received.endswith(b"0\r\n\r\n")
    engine.wait_until(lambda: engine.descriptors() <= descriptors)
    assert engine.request("DELETE", "/containers/box")[0] == 204
