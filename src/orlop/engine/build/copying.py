"""COPY, ADD and WORKDIR in the engine: a worker chooses and writes, the store takes the layer in.

Two processes without privileges, joined by a pipe: what one reads from the context or from another
image becomes the archive that the other hashes and indexes. This process only passes descriptors.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from orlop.engine import json_codec
from orlop.engine.build.roots import mounted_layers
from orlop.engine.worker_process import start_worker, write_all
from orlop.lib.errors import Internal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from orlop.engine.build.copy_job import CopyJob
    from orlop.engine.build.workspace import Context
    from orlop.engine.store.ingest import AddedLayer, Ingest
    from orlop.engine.store.layered import LayeredImages

COPY_TIMEOUT_S = 6 * 3600.0
OUTPUT_FD = 8
FIRST_DOWNLOAD_FD = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class CopySource:
    """Where the files come from: the context, or the layers of an image, or nowhere."""

    context: Context | None = None
    layers: tuple[str, ...] | None = None
    downloads: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        if self.context is not None:
            return "context"
        return "root" if self.layers else "nothing"


@dataclass(slots=True)
class Copying:
    """A worker that has looked: *digest* of the files, and whether there is anything to write."""

    digest: str
    needed: bool
    _input: int
    _output: int
    _messages: AsyncIterator[dict[str, Any]]
    _adding: asyncio.Future[AddedLayer] | None

    async def store(self, session: Ingest) -> str:
        """Have the layer written and stored; its diff id.

        Raises:
            OrlopError: it could not be.
        """
        adding = self._adding or asyncio.ensure_future(session.add_layer(self._output))
        try:
            await write_all(self._input, b"\n")
            done = [message async for message in self._messages]
            # An archive that breaks off may look whole to who reads it: both have to agree.
            if not done or not done[-1].get("done"):
                raise Internal("a build worker ended without its layer")
            return (await adding).layer.diff_id
        finally:
            adding.cancel()
            await asyncio.gather(adding, return_exceptions=True)


@contextlib.asynccontextmanager
async def copying(
    store: LayeredImages,
    below: Sequence[str],
    source: CopySource,
    job: CopyJob,
    directory: Path,
    *,
    session: Ingest | None = None,
) -> AsyncIterator[Copying]:
    """Look at what *job* asks for, on top of the layers *below*; then `Copying.store`, or not.

    With *session* it is certain that it will be stored: the other worker starts at once.

    Raises:
        OrlopError: a source is missing, or the destination does not fit.
    """
    async with contextlib.AsyncExitStack() as stack:
        below_root = await stack.enter_async_context(mounted_layers(store, below, directory))
        layers = source.layers or ()
        source_root = await stack.enter_async_context(mounted_layers(store, layers, directory))
        own = stack.enter_context(_Descriptors())
        fds = {3: own.directory(stack.enter_context(_work_directory(directory)))}
        if source.context is not None:
            fds |= {4: source.context.archive_fd, 5: source.context.index_fd}
        for number, root in ((6, below_root), (7, source_root)):
            if root is not None:
                fds[number] = own.directory(root)
        fds |= {FIRST_DOWNLOAD_FD + count: fd for count, fd in enumerate(source.downloads)}
        job_reading, job_writing = own.pipe()
        reading, writing = own.pipe()
        os.set_blocking(job_writing, False)
        worker = await stack.enter_async_context(
            start_worker(
                store.children,
                "build",
                "copy",
                fds={**fds, 0: job_reading, OUTPUT_FD: writing},
                timeout_s=COPY_TIMEOUT_S,
            )
        )
        # From now on the worker's end alone says when the layer is complete.
        own.close(writing)
        adding = None
        if session is not None:
            adding = asyncio.ensure_future(session.add_layer(reading))
            stack.push_async_callback(_end, adding)
        text = {
            "job": json_codec.encode(job),
            "has_below": below_root is not None,
            "source": source.name,
        }
        with contextlib.suppress(BrokenPipeError):
            await write_all(job_writing, json.dumps(text).encode() + b"\n")
        messages = worker.messages()
        try:
            first = await anext(messages)
        except StopAsyncIteration:
            raise Internal("a build worker gave no answer") from None
        digest, needed = str(first["digest"]), bool(first["needed"])
        yield Copying(digest, needed, job_writing, reading, messages, adding)


async def _end(task: asyncio.Future[AddedLayer]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@contextlib.contextmanager
def _work_directory(directory: Path) -> Iterator[Path]:
    """An empty directory, which is all of the file system that the worker sees."""
    path = directory / f"copy-{os.urandom(4).hex()}"
    path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):
            path.rmdir()


class _Descriptors:
    """Open descriptors, closed at the end of the block."""

    def __init__(self) -> None:
        self._open: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for descriptor in tuple(self._open):
            self.close(descriptor)

    def directory(self, path: Path) -> int:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._open.add(descriptor)
        return descriptor

    def pipe(self) -> tuple[int, int]:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        self._open |= {reading, writing}
        return reading, writing

    def close(self, descriptor: int) -> None:
        self._open.discard(descriptor)
        os.close(descriptor)
