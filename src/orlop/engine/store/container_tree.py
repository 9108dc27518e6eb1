"""A container's files as archives and lists: what export, commit and changes are made from."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from orlop.engine.tasks import thread_to_its_end
from orlop.engine.worker_process import start_worker, worker_argv
from orlop.lib import mount
from orlop.lib.children import end_session
from orlop.lib.errors import Internal, NotFound

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from orlop.engine.container.container import Container
    from orlop.lib.children import Child

TIMEOUT_S = 3600.0


@contextlib.asynccontextmanager
async def export(container: Container) -> AsyncIterator[int]:
    """A descriptor with all its files as a tar, while the block runs; read it to its end.

    Raises:
        Internal: at the end of the block, when a file could not be read.
    """
    await container.hold_root()
    try:
        async with _tar(container, "export", _open(container.layout.rootfs)) as output:
            yield output
    finally:
        container.drop_root()


@contextlib.asynccontextmanager
async def diff(container: Container) -> AsyncIterator[int]:
    """The same of what it has changed, as a layer."""
    async with _tar(container, "diff", _open_upper(container)) as output:
        yield output


@contextlib.asynccontextmanager
async def _tar(container: Container, command: str, tree: int) -> AsyncIterator[int]:
    """Takes over *tree*."""
    try:
        reading, writing = os.pipe2(os.O_CLOEXEC)
    except OSError:
        os.close(tree)
        raise
    child: Child | None = None
    try:
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


@contextlib.asynccontextmanager
async def changes(container: Container) -> AsyncIterator[AsyncIterator[Mapping[str, object]]]:
    """What it has changed: `{"Path": ..., "Kind": 0 modified, 1 added, 2 deleted}`, by path.

    They are not kept here, however many there are.

    Raises:
        OrlopError: its image cannot be mounted, or the files not be read.
    """
    image = container.image()
    user = f"changes of {container.record.id}"
    images = container.host.images
    await images.mount(image, user)
    opened: list[int] = []
    try:
        from orlop.engine.runtime.rootfs import LOOKS

        place = container.host.settings.run_dir / LOOKS / os.urandom(4).hex()
        # The thread puts it there: cancelled meanwhile, it is closed all the same.
        await thread_to_its_end(lambda: opened.append(_open_lower(image.lower, place)))
        opened.append(_open_upper(container))
        below, tree = opened
        async with start_worker(
            container.host.children,
            "tree",
            "changes",
            *map(str, container.config.uid_map),
            fds={3: tree, 4: below},
            timeout_s=TIMEOUT_S,
        ) as worker:
            yield worker.messages()
    except OSError as error:
        raise Internal(f"cannot look at the container's files: {error}") from error
    finally:
        for descriptor in opened:
            os.close(descriptor)
        images.unmount(user)


def _open_upper(container: Container) -> int:
    """Raises: NotFound: it has been removed meanwhile. OSError: its layer cannot be opened."""
    if container.removed:
        raise NotFound(f"No such container: {container.record.id}")
    # One that was never started may have none.
    container.layout.upper.mkdir(parents=True, exist_ok=True, mode=0o755)
    return _open(container.layout.upper)


def _open_lower(lowers: tuple[Path, ...], place: Path) -> int:
    """The image by itself, read-only: a descriptor, which alone keeps it mounted."""
    from orlop.engine.runtime.rootfs import mount_overlay

    place.mkdir(mode=0o700, parents=True)
    try:
        if len(lowers) == 1:
            mount.mount(lowers[0], place, None, mount.MountFlag.BIND)
        else:
            mount_overlay(place, lowers)
        try:
            return _open(place)
        finally:
            mount.detach(place)
    finally:
        place.rmdir()


def _open(directory: Path) -> int:
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
