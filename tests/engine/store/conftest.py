"""Fixtures: an engine with an image store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.containers.conftest import images
from tests.engine.containers.engine_host import UnixConnection, UserEngine, running
from tests.engine.store.archives import busybox_layer, docker_archive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["images"]


class StoreEngine(UserEngine):
    """An engine as its user starts it, with images that come from archives."""

    def command_line(self) -> list[str | Path]:
        line = super().command_line()
        return [word for word in line if not str(word).startswith("--images=")]

    @property
    def store(self) -> Path:
        return self.directory / "data" / "store"

    def send(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        """An exchange with a body of bytes."""
        connection = UnixConnection(self.socket_path)
        try:
            connection.request(method, target, body, {"Content-Type": "application/x-tar"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def load(self, archive: bytes) -> str:
        """Load; what the engine answered."""
        status, answer = self.send("POST", "/images/load?quiet=1", archive)
        assert status == 200, answer
        return answer.decode()


@pytest.fixture
def bare(images: Path) -> Iterator[StoreEngine]:
    """An engine without images."""
    with running(lambda directory: StoreEngine(directory, images)) as engine:
        yield engine


@pytest.fixture(scope="module")
def shared(images: Path) -> Iterator[StoreEngine]:
    """One engine for all tests of a module, which leave it as it was, with the image `busybox`."""
    with running(lambda directory: StoreEngine(directory, images)) as engine:
        engine.load(docker_archive([busybox_layer()], ["busybox:latest"]))
        yield engine


@pytest.fixture
def engine(bare: StoreEngine) -> StoreEngine:
    """An engine with the image `busybox`."""
    answer = bare.load(docker_archive([busybox_layer()], ["busybox:latest"]))
    assert "Loaded image: busybox:latest" in answer
    return bare
