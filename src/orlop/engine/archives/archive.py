"""Files of a container as archives, in and out: what `docker cp` does, running or not.

All of it happens in a worker that has the container's root for its own
(`engine.archives.archive_worker`).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
from typing import TYPE_CHECKING, Any

from orlop.engine import disk
from orlop.engine.container import launch
from orlop.engine.worker_process import worker_argv
from orlop.lib import errors
from orlop.lib.children import end_session, wait_or_kill
from orlop.lib.errors import Conflict, Internal, OrlopError
from orlop.lib.pipes import PipeReader
from orlop.wire.compose_model import MountKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from orlop.engine.container.container import Container
    from orlop.lib.children import Child

MAX_ANSWER_BYTES = 64 << 10
MAX_WORKERS = 32
"""At a time, for all containers."""

END_TIMEOUT_S = 30.0
"""For a worker to end when its work is done."""

ERROR_KINDS = ("InvalidArgument", "NotFound", "Forbidden", "ResourceExhausted", "Internal")
_slots = asyncio.Semaphore(MAX_WORKERS)
_counter = iter(range(1 << 62))


class Transfer:
    """One worker at work."""

    def __init__(self, container: Container, child: Child, reader: PipeReader) -> None:
        self.child = child
        self._container = container
        self._reader = reader
        self._rest = b""

    async def answer(self) -> dict[str, Any]:
        """The worker's line.

        Raises:
            OrlopError: the request was refused, or the worker broke.
        """
        data = b""
        while b"\n" not in data:
            more = await self._reader.read()
            data += more
            if not more or (len(data) > MAX_ANSWER_BYTES and b"\n" not in data):
                raise Internal("the archive worker gave no answer")
        line, _, self._rest = data.partition(b"\n")
        value: dict[str, Any] = json.loads(line)
        if "error" in value:
            kind = value["error"] if value["error"] in ERROR_KINDS else "Internal"
            message = str(value["message"])
            if message.startswith("Could not find the file"):
                message += f" in container {self._container.record.id}"
            error: OrlopError = getattr(errors, kind)(message)
            raise error
        return value

    async def content(self) -> AsyncIterator[bytes]:
        """What follows the answer.

        Raises:
            Internal: it is not whole.
        """
        if self._rest:
            yield self._rest
        while data := await self._reader.read():
            yield data
        if not (await wait_or_kill(self.child, END_TIMEOUT_S)).ok:
            raise Internal("the archive could not be made")


@contextlib.asynccontextmanager
async def transfer(
    container: Container, request: dict[str, Any], *, stdin_fd: int | None = None
) -> AsyncIterator[Transfer]:
    """A worker doing *request* (`op`, `path` …), which ends with the block at the latest.

    Raises:
        OrlopError: the container's files cannot be reached.
    """
    async with _slots, _entered(container) as (more, root_fd):
        text = json.dumps(request | more)
        userns_fd = await container.userns_fd()
        reading, writing = os.pipe2(os.O_CLOEXEC)
        reader = PipeReader(reading)
        try:
            fds = {1: writing}
            if stdin_fd is not None:
                fds[0] = stdin_fd
            if root_fd >= 0:
                fds[3] = root_fd
            if userns_fd >= 0:
                fds[4] = userns_fd
            try:
                child = await _spawn(container, text, fds)
            finally:
                os.close(writing)
            try:
                yield Transfer(container, child, reader)
            finally:
                await end_session(child)
        finally:
            reader.close()


async def _spawn(container: Container, request: str, fds: dict[int, int]) -> Child:
    children, command = container.host.children, worker_argv("archive", request)
    try:
        return await children.spawn_patiently(command, fds=fds, new_session=True)
    except OSError as error:
        raise Internal(f"cannot start a worker: {error}") from error


@contextlib.asynccontextmanager
async def _entered(container: Container) -> AsyncIterator[tuple[dict[str, Any], int]]:
    """How a worker gets to the container's root: by descriptor, or by what is to be mounted."""
    record = container.record
    if container.removed:
        raise errors.NotFound(f"No such container: {record.id}")
    if record.state.is_up:
        try:
            descriptor = os.open(f"/proc/{record.pid}/root", os.O_PATH | os.O_CLOEXEC)
        except OSError as error:
            raise Conflict(f"container {record.id} is ending") from error
        try:
            if not container.is_same_process():
                raise Conflict(f"container {record.id} is ending")
            yield {"root": "", "mounts": [], "read_only": False}, descriptor
        finally:
            os.close(descriptor)
        return
    holder = f"{record.id} files {next(_counter)}"
    await container.hold_root()
    try:
        yield (
            {
                "root": os.fspath(container.layout.rootfs),
                "mounts": await _mounts(container, holder),
                "read_only": container.config.read_only,
            },
            -1,
        )
    finally:
        await container.host.volumes.detach(holder)
        container.drop_root()


async def _mounts(container: Container, holder: str) -> list[tuple[str, str, str, bool, bool]]:
    """Source, part of it, target, whether read-only and a volume, of what a start would mount."""
    found = []
    ordered = sorted(container.config.mounts, key=lambda mount: mount.target.count("/"))
    for mount in ordered:
        if mount.kind is MountKind.VOLUME:
            source = os.fspath(await container.host.volumes.attach(mount.source, holder))
        elif mount.kind is MountKind.BIND and await disk.look(
            mount.source, functools.partial(os.path.lexists, mount.source)
        ):
            source = mount.source
        else:
            continue
        is_volume = mount.kind is MountKind.VOLUME
        found.append((source, mount.subpath, mount.target, mount.read_only, is_volume))
    return found


def owner_of(container: Container) -> tuple[int, int]:
    """Who the container's processes run as, for `--archive`'s opposite.

    Raises:
        InvalidArgument: its user is not in the image.
    """
    config, image = container.config, container.image()
    identity = launch.identify(container.layout, config.user or image.user)
    return identity.uid, identity.gid
