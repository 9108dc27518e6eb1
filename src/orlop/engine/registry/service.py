"""Registries, as the engine sees them: starts workers, answers them, takes what they bring.

Nothing a registry says is read here. See `worker` for the other side.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orlop.engine.registry import job as jobs
from orlop.engine.registry.job import Job
from orlop.engine.registry.settings import Registries
from orlop.engine.store.ingest import room_bytes
from orlop.engine.worker_process import start_worker, write_all
from orlop.lib.errors import Internal
from orlop.wire.registry.reference import Reference

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from orlop.engine.store.ingest import Ingest
    from orlop.engine.store.layered import LayeredImages
    from orlop.lib.children import Children
    from orlop.wire.registry.auth_config import AuthConfig

    type Show = Callable[[dict[str, Any]], Awaitable[None]]

TRANSFER_TIMEOUT_S = 24 * 3600.0
QUESTION_TIMEOUT_S = 180.0

MAX_WORKERS = 16
"""Registry jobs at a time; more wait for their turn."""


class RegistryService:
    """What the API asks of registries."""

    def __init__(self, children: Children, store: LayeredImages, registries: Registries) -> None:
        self._children = children
        self._store = store
        self._registries = registries
        self._turns = asyncio.Semaphore(MAX_WORKERS)

    async def pull(
        self, reference: Reference, wanted_platform: str, auth: AuthConfig, show: Show
    ) -> None:
        """Pull an image, or all tags of a name; *show* gets the progress messages.

        Raises:
            OrlopError: in dockerd's words. NotFound: no such image, or no access to it.
        """
        async with self._store.ingest() as ingest, ingest.staging() as directory:
            task = Job(
                action="pull",
                reference=reference,
                platform=wanted_platform,
                machine=platform.machine(),
                auth=auth,
                max_layer_bytes=room_bytes(directory),
            )
            taking = _Taking(self._store, ingest, directory, show)
            try:
                await self._run(task, directory, taking.handle, TRANSFER_TIMEOUT_S)
            finally:
                await taking.close()

    async def push(
        self, reference: Reference, images: list[dict[str, Any]], auth: AuthConfig, show: Show
    ) -> None:
        """Push *images* (see `pushing`) to the repository of *reference*.

        Raises:
            OrlopError: in dockerd's words.
        """
        ids = {image["tag"]: image["id"] for image in images}

        async def handle(message: dict[str, Any]) -> dict[str, Any] | None:
            if "progress" in message:
                await show(message["progress"])
                return None
            if message.get("ask") == "pushed":
                named = reference.with_digest(str(message["digest"]))
                async with self._store.lock:
                    await self._store.name_image(ids[str(message["tag"])], [named])
                return {}
            raise Internal("a worker asks something unknown")

        async with self._store.ingest() as ingest, ingest.staging() as directory:
            for image in images:
                for digest in image.pop("pins"):
                    ingest.pin(digest)
            task = Job(
                action="push",
                reference=reference,
                auth=auth,
                images=tuple(images),
            )
            await self._run(task, directory, handle, TRANSFER_TIMEOUT_S)

    async def login(self, domain: str, auth: AuthConfig) -> dict[str, Any]:
        """Try the credentials at the registry *domain*: `POST /auth`.

        Raises:
            Unauthorized: they are wrong. OrlopError: the registry cannot be reached.
        """
        return await self._ask(Job(action="login", reference=Reference(domain, ""), auth=auth))

    async def inspect(self, reference: Reference, auth: AuthConfig) -> dict[str, Any]:
        """What a registry has under *reference*: `GET /distribution/NAME/json`.

        Raises:
            NotFound, Forbidden, Unauthorized: as the registry says.
        """
        return await self._ask(Job(action="distribution", reference=reference, auth=auth))

    async def search(
        self, domain: str, term: str, limit: int, auth: AuthConfig
    ) -> list[dict[str, Any]]:
        """Repositories for *term*; an empty *domain* is Docker's own index.

        Raises:
            OrlopError: the registry cannot be searched.
        """
        task = Job(
            action="search", reference=Reference(domain, ""), auth=auth, term=term, limit=limit
        )
        result = await self._ask(task)
        return list(result["results"])

    async def fetch(
        self, url: str, digest: str, max_bytes: int, directory: Path, show: Show | None = None
    ) -> dict[str, Any]:
        """Download *url* into *directory*; `name` of the file there, `digest` and `size`.

        Raises:
            OrlopError: it cannot be had, is longer, or has another digest than *digest*, if given.
        """
        domain = urlsplit(url).netloc
        task = Job(
            action="fetch",
            reference=Reference(domain, "", "", digest),
            term=url,
            max_layer_bytes=max_bytes,
        )
        return await self._run(task, directory, _shower(show), TRANSFER_TIMEOUT_S)

    async def artifact(
        self, reference: Reference, max_bytes: int, directory: Path
    ) -> dict[str, Any]:
        """What *reference* holds if it is an artifact of one file, as `fetch`; `image` is whether
        it is an image instead, and `manifest` the digest of its manifest.

        Raises:
            OrlopError: in dockerd's words.
        """
        task = Job(action="artifact", reference=reference, max_layer_bytes=max_bytes)
        return await self._run(task, directory, _shower(None), QUESTION_TIMEOUT_S)

    @property
    def search_domain(self) -> str:
        """The registry that is searched when a term names none."""
        return self._registries.search

    async def _ask(self, task: Job) -> dict[str, Any]:
        async with self._store.ingest() as ingest, ingest.staging() as directory:
            return await self._run(task, directory, _shower(None), QUESTION_TIMEOUT_S)

    async def _run(
        self,
        task: Job,
        directory: Path,
        handle: Callable[[dict[str, Any]], Awaitable[dict[str, Any] | None]],
        timeout_s: float,
    ) -> dict[str, Any]:
        """Run a worker for *task* in *directory*; *handle* answers what it asks. Its result."""
        text = jobs.to_json(replace(task, registries=self._registries))
        async with (
            self._turns,
            _pipe() as (reading, writing),
            _directory(directory) as descriptor,
            start_worker(
                self._children,
                "registry",
                fds={0: reading, 3: descriptor},
                timeout_s=timeout_s,
            ) as worker,
        ):
            await write_all(writing, _line(text))
            async for message in worker.messages():
                if "result" in message:
                    return dict(message["result"])
                answer = await handle(message)
                if answer is not None:
                    await write_all(writing, _line(answer))
        raise Internal("a registry worker ended without a result")


def _shower(show: Show | None) -> Callable[[dict[str, Any]], Awaitable[None]]:
    """Handles the messages of a worker that asks nothing."""

    async def handle(message: dict[str, Any]) -> None:
        if show is not None and "progress" in message:
            await show(message["progress"])

    return handle


class _Taking:
    """Takes into the store what a pull brings, while it still goes on."""

    def __init__(self, store: LayeredImages, ingest: Ingest, directory: Path, show: Show) -> None:
        self._store = store
        self._ingest = ingest
        self._directory = directory
        self._show = show
        self._layers: list[asyncio.Task[Any]] = []

    async def handle(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """One message of the worker; what to answer."""
        if "progress" in message:
            await self._show(message["progress"])
            return None
        if "layer" in message:
            work = self._ingest.take_layer(self._directory, message["layer"])
            self._layers.append(asyncio.ensure_future(work))
            return None
        match message.get("ask"):
            case "image":
                return {"have": self._has_image(message["id"], message["digest"])}
            case "layers":
                pairs = zip(message["diff_ids"], message["blobs"], strict=True)
                have = [self._has_layer(diff_id, *blob) for diff_id, blob in pairs]
                return {"have": have}
            case "commit":
                return {"updated": await self._commit(message)}
        raise Internal("a worker asks something unknown")

    async def close(self) -> None:
        """Nothing of the directory is in use any more."""
        for task in self._layers:
            task.cancel()
        await asyncio.gather(*self._layers, return_exceptions=True)

    def _has_image(self, image_id: str, manifest_digest: str) -> bool:
        record = self._store.images.get(image_id)
        if record is None or record.manifest is None:
            return False
        if record.manifest.digest != manifest_digest:
            return False
        if any(diff_id not in self._store.layers for diff_id in record.layers):
            return False
        self._ingest.pin(image_id)
        for diff_id in record.layers:
            self._ingest.pin(diff_id)
        self._ingest.pin(manifest_digest)
        for blob in record.manifest.layers:
            self._ingest.pin(blob.digest)
        return True

    def _has_layer(self, diff_id: str, digest: str, size: int) -> bool:
        """Whether nothing of the layer is missing: unpacked, and as the registry has it."""
        self._ingest.pin(digest)
        if self._ingest.reuse(diff_id) is None:
            return False
        return digest == diff_id or self._store.directory.has_blob(digest, size)

    async def _commit(self, message: dict[str, Any]) -> bool:
        await asyncio.gather(*self._layers)
        self._layers.clear()
        domain, path, tag, digest = map(str, message["reference"])
        reference = Reference(domain, path, tag, digest)
        # What has a tag is known by its digest too; what has a digest gets no tag, as in dockerd.
        names = [Reference(domain, path, "", digest or str(message["digest"]))]
        if not digest:
            names.append(reference)
        image_id = str(message["id"])
        before = self._store.lookup(reference)
        if message["config"] is None:
            async with self._store.lock:
                record = self._store.images[image_id]
                await self._store.add_image(record, names)
        else:
            config, manifest = await asyncio.to_thread(
                lambda: (self._read(message["config"]), self._read(message["manifest"]))
            )
            found = await self._ingest.add_image(
                config, manifest=manifest, media_type=str(message["media_type"]), references=names
            )
            if found != image_id:
                raise Internal("a registry worker brought another image than it said")
        return before is None or before.id != image_id

    def _read(self, name: str) -> bytes:
        if "/" in name:
            raise Internal("a worker named a file outside its directory")
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(self._directory / name, flags), "rb") as stream:
            return stream.read(16 << 20)


@contextlib.asynccontextmanager
async def _pipe() -> AsyncIterator[tuple[int, int]]:
    """A pipe for a worker's questions to be answered; our end does not block."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        os.set_blocking(writing, False)
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


@contextlib.asynccontextmanager
async def _directory(path: Path) -> AsyncIterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
