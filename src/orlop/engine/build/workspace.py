"""What a build has from its client: the context, taken in by a worker, and where it is kept."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.engine import json_codec
from orlop.engine.store.ingest import room_bytes
from orlop.engine.worker_process import start_worker
from orlop.lib.errors import Internal
from orlop.wire.dockerfile.source import Source

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.lib.children import Children

CONTEXT_TIMEOUT_S = 6 * 3600.0
"""As long as the slowest sender may take."""

CONTEXT_FILE, INDEX_FILE = "context.tar", "index.json"


@dataclass(frozen=True, slots=True)
class Context:
    """A context that was taken in: descriptors of the archive and its index."""

    source: Source
    archive_fd: int
    index_fd: int

    def close(self) -> None:
        os.close(self.archive_fd)
        os.close(self.index_fd)


async def take_context(
    children: Children, directory: Path, body_fd: int, *, dockerfile: str, plain: bool = False
) -> Context:
    """Let a worker read the context from *body_fd* into *directory*, which is its own.

    *plain*: what comes is a Dockerfile alone.

    Raises:
        InvalidArgument: it is no archive, or the Dockerfile in it is missing or wrong.
        ResourceExhausted: it does not fit.
    """
    # Here, as the worker takes names from this module too.
    import asyncio

    job = {"dockerfile": dockerfile, "plain": plain, "max_bytes": free_bytes(directory)}
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        async with start_worker(
            children,
            "build",
            "context",
            json.dumps(job),
            fds={0: body_fd, 3: descriptor},
            timeout_s=CONTEXT_TIMEOUT_S,
        ) as worker:
            answer = await worker.result()
    finally:
        os.close(descriptor)
    # Large ones take a while; not in the loop's time.
    source = await asyncio.to_thread(json_codec.decode, Source, answer.get("source"))
    archive_fd = open_own(directory / CONTEXT_FILE)
    try:
        return Context(source, archive_fd, open_own(directory / INDEX_FILE))
    except BaseException:
        os.close(archive_fd)
        raise


def free_bytes(directory: Path) -> int:
    """What may be written on the disk of *directory*."""
    return room_bytes(directory)


def open_own(path: Path) -> int:
    """A regular file that a worker has left, which is not trusted.

    Raises:
        Internal: it is something else.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Internal(f"a build worker left no {path.name}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Internal(f"a build worker left something odd as {path.name}")
    return descriptor
