"""Fixtures: an engine with an image store, a registry, and a proxy between them."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.containers.conftest import images
from tests.engine.containers.engine_host import UnixConnection, running
from tests.engine.registry.fault_proxy import FaultProxy
from tests.engine.registry.registry_host import Registry
from tests.engine.store.archives import LayerBuilder, busybox_layer
from tests.engine.store.conftest import StoreEngine

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["images"]


class Engine(StoreEngine):
    """An engine that pulls and pushes."""

    def stream(
        self, target: str, auth: dict[str, str] | None = None
    ) -> tuple[int, list[dict[str, Any]]]:
        """A POST whose answer is progress, or one error."""
        connection = UnixConnection(self.socket_path)
        headers = {}
        if auth is not None:
            headers["X-Registry-Auth"] = base64.urlsafe_b64encode(
                json.dumps(auth).encode()
            ).decode()
        try:
            connection.request("POST", target, headers=headers)
            response = connection.getresponse()
            lines = response.read().splitlines()
            return response.status, [json.loads(line) for line in lines if line.strip()]
        finally:
            connection.close()

    def pull(
        self, name: str, auth: dict[str, str] | None = None, query: str = ""
    ) -> list[dict[str, Any]]:
        """Pull, and expect it to work; its messages."""
        status, messages = self.stream(f"/images/create?fromImage={name}{query}", auth)
        assert status == 200, messages
        assert "error" not in messages[-1], messages[-1]
        return messages

    def pull_fails(
        self, name: str, auth: dict[str, str] | None = None, query: str = ""
    ) -> tuple[int, str]:
        """Pull, and expect an error: the status, 200 if it came in the stream, and the text."""
        status, messages = self.stream(f"/images/create?fromImage={name}{query}", auth)
        last = messages[-1]
        assert "error" in last or "message" in last, messages
        return status, str(last.get("error") or last.get("message"))

    def push(
        self, name: str, auth: dict[str, str] | None = None, tag: str = "latest"
    ) -> list[dict[str, Any]]:
        status, messages = self.stream(f"/images/{name}/push?tag={tag}", auth)
        assert status == 200, messages
        assert "error" not in messages[-1], messages[-1]
        return messages

    def is_clean(self) -> bool:
        """Whether nothing of a transfer is left."""
        return not list((self.store / "staging").iterdir())

    def layer_count(self) -> int:
        return len(list((self.store / "layers").iterdir()))


def texts(messages: list[dict[str, Any]], id_: str = "") -> list[str]:
    """The statuses of *messages*, each once in a row; those of one layer with *id_*."""
    found: list[str] = []
    for message in messages:
        text = message.get("status")
        if text is not None and message.get("id", "") == id_ and found[-1:] != [text]:
            found.append(text)
    return found


def noise_layer(size: int, seed: int = 1) -> bytes:
    """A layer that hardly compresses."""
    return LayerBuilder().add(f"noise-{seed}", random.Random(seed).randbytes(size)).finish()


@pytest.fixture(scope="session")
def base_layer() -> bytes:
    return busybox_layer()


@pytest.fixture(scope="session")
def loopback(images: Path) -> None:
    """The interface of the private network namespace."""
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


@pytest.fixture(scope="session")
def registry(loopback: None) -> Iterator[Registry]:
    """A registry that anybody may use."""
    with tempfile.TemporaryDirectory(prefix="registry-") as directory:
        found = Registry(Path(directory))
        found.start()
        yield found
        found.stop()


@pytest.fixture
def proxy(registry: Registry) -> Iterator[FaultProxy]:
    found = FaultProxy(registry.host)
    yield found
    found.stop()


def run_engine(images: Path, *options: str) -> Iterator[Engine]:
    with running(lambda directory: Engine(directory, images, options)) as process:
        yield process


@pytest.fixture
def engine(images: Path, loopback: None) -> Iterator[Engine]:
    """An engine without images."""
    yield from run_engine(images)


def unique(name: str) -> str:
    """A repository of this test alone."""
    return "t" + hashlib.sha256(name.encode()).hexdigest()[:10]
