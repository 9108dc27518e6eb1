"""Fixtures: an engine with an image store and the image `busybox`, and builds through the API."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from tests.engine.containers.conftest import images
from tests.engine.containers.engine_host import UnixConnection, running
from tests.engine.store.archives import busybox_layer, docker_archive
from tests.engine.store.conftest import StoreEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["images"]


@dataclass
class Built:
    """What a build answered."""

    status: int
    messages: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""

    @property
    def text(self) -> str:
        """Everything it said."""
        return "".join(message.get("stream", "") for message in self.messages)

    @property
    def image_id(self) -> str:
        ids = [message["aux"]["ID"] for message in self.messages if "aux" in message]
        assert ids, (self.error, self.text)
        return str(ids[-1])


def context_of(files: dict[str, str | bytes | None]) -> bytes:
    """A context: a file each, `->target` for a link, None for a directory."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.mtime, info.mode, info.uid = 1_700_000_000, 0o644, 1234
            data = content.encode() if isinstance(content, str) else content or b""
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                data = b""
            elif data.startswith(b"->"):
                info.type, info.linkname = tarfile.SYMTYPE, data[2:].decode()
                data = b""
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


class Builder:
    """Builds with one engine."""

    def __init__(self, engine: StoreEngine) -> None:
        self.engine = engine

    def build(
        self, dockerfile: str, files: dict[str, str | bytes | None] | None = None, **query: Any
    ) -> Built:
        """Build *dockerfile* with *files* as the context."""
        body = context_of({"Dockerfile": dockerfile, **(files or {})})
        return self.send(body, **query)

    def send(self, body: bytes, **query: Any) -> Built:
        """Build from the archive *body*."""
        connection = UnixConnection(self.engine.socket_path)
        try:
            target = "/build?" + urlencode(query, doseq=True)
            connection.request("POST", target, body, {"Content-Type": "application/x-tar"})
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        if response.status != 200:
            return Built(response.status, error=json.loads(data)["message"])
        messages = [json.loads(line) for line in data.splitlines() if line.strip()]
        errors = [message["error"] for message in messages if "error" in message]
        return Built(response.status, messages, errors[-1] if errors else "")

    def ok(
        self, dockerfile: str, files: dict[str, str | bytes | None] | None = None, **query: Any
    ) -> Built:
        """As `build`, which has to succeed."""
        built = self.build(dockerfile, files, **query)
        assert not built.error, (built.error, built.text, self.engine.log()[-3000:])
        return built

    def inspect(self, image: str) -> dict[str, Any]:
        status, answer = self.engine.request("GET", f"/images/{image}/json")
        assert status == 200, answer
        assert isinstance(answer, dict)
        return answer

    def output(self, image: str, command: str) -> str:
        """What *command* prints in a container of *image*."""
        name = f"look-{image[-8:]}"
        self.engine.run(
            name, ["sh", "-c", command], Image=image, HostConfig={"NetworkMode": "none"}
        )
        self.engine.wait(name)
        text = self.engine.logs(name).decode()
        self.engine.request("DELETE", f"/containers/{name}?force=1&v=1")
        return text


@pytest.fixture(scope="module")
def shared(images: Path) -> Iterator[StoreEngine]:
    """One engine for all builds, with the image `busybox`: to start one takes a while.

    Of a module: the default bridge is for one engine at a time.
    """
    with running(lambda directory: StoreEngine(directory, images)) as process:
        process.load(docker_archive([busybox_layer()], ["busybox:latest"]))
        yield process


@pytest.fixture
def builder(shared: StoreEngine) -> Builder:
    """Builds with the shared engine, whose cache is empty."""
    shared.request("POST", "/build/prune?all=1")
    return Builder(shared)
