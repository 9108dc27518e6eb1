"""A container's files as archives and lists: what export, commit and changes are made from."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from orlop.engine.worker_process import start_worker, worker_argv
from orlop.lib import mount
from orlop.lib.children import end_session
from orlop.lib.errors import Internal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from orlop.engine.container import Container
    from orlop.lib.children import Child

TIMEOUT_S = 3600.0
MAX_CHANGES = 1_000_000


@contextlib.asynccontextmanager
async def export(container: Container) -> AsyncIterator[int]:
    """A descriptor with all its files as a tar, while the block runs; read it to its end.

    Raises:
        Internal: at the end of the block, when a file could not be read.
    """
    await container.hold_root()
    try:
        async with _tar(container, "export", container.layout.rootfs) as output:
            yield output
    finally:
        container.drop_root()


@contextlib.asynccontextmanager
async def diff(container: Container) -> AsyncIterator[int]:
    """The same of what it has changed, as a layer."""
    container.layout.upper.mkdir(parents=True, exist_ok=True, mode=0o755)
    async with _tar(container, "diff", container.layout.upper) as output:
        yield output


@contextlib.asynccontextmanager
async def _tar(container: Container, command: str, directory: Path) -> AsyncIterator[int]:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    child: Child | None = None
    try:
        tree = _open(directory)
        try:
            argv = worker_argv("tree", command, *map(str, container.config.uid_map))
            child = await container.host.children.spawn_patiently(
                argv, fds={1: writing, 3: tree}, new_session=True
            )
        finally:
            os.close(writing)
            os.close(tree)
        yield reading
        status = await child.wait()
        if not status.ok:
            raise Internal("the files of the container cannot be read")
    finally:
        os.close(reading)
        if child is not None:
            await end_session(child)


async def changes(container: Container) -> list[Mapping[str, object]]:
    """What it has changed: `{"Path": ..., "Kind": 0 modified, 1 added, 2 deleted}`, by path.

    Raises:
        OrlopError: its image cannot be mounted, or the files not be read.
    """
    image = container.image()
    user = f"changes of {container.record.id}"
    images, children = container.host.images, container.host.children
    await images.mount(image, user)
    lower = container.layout.run / f"lower-{os.urandom(4).hex()}"
    container.layout.upper.mkdir(parents=True, exist_ok=True, mode=0o755)
    found: list[Mapping[str, object]] = []
    try:
        lower.mkdir(parents=True, mode=0o700)
        _mount_lower(image.lower, lower)
        tree, below = _open(container.layout.upper), _open(lower)
        try:
            fds = {3: tree, 4: below}
            async with start_worker(
                children,
                "tree",
                "changes",
                *map(str, container.config.uid_map),
                fds=fds,
                timeout_s=TIMEOUT_S,
            ) as worker:
                async for change in worker.messages():
                    found.append(change)
                    if len(found) > MAX_CHANGES:
                        raise Internal(f"the container has changed more than {MAX_CHANGES} files")
        finally:
            os.close(tree)
            os.close(below)
    except OSError as error:
        raise Internal(f"cannot look at the container's files: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            mount.detach(lower)
            lower.rmdir()
        images.unmount(user)
    return sorted(found, key=lambda change: str(change["Path"]))


def _mount_lower(lowers: tuple[Path, ...], target: Path) -> None:
    """The image by itself, read-only."""
    from orlop.engine.rootfs import mount_overlay

    if len(lowers) == 1:
        mount.mount(lowers[0], target, None, mount.MountFlag.BIND)
        return
    mount_overlay(target, lowers)


def _open(directory: Path) -> int:
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
