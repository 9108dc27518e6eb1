"""`RUN --mount`: caches, temporary file systems, and files of the context or of other images.

Nothing of them gets into the layer: where a mount point had to be made for one, it is taken out of
what the command changed before that is kept (`commit`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.engine.build import bases, plan
from orlop.engine.build.copy_job import CopyJob
from orlop.engine.build.copying import CopySource, copying
from orlop.engine.build.roots import mounted_layers
from orlop.engine.build.trees import DirectoryTree, resolve
from orlop.engine.images import sha256_hex
from orlop.engine.runtime.rootfs import mount_overlay
from orlop.lib import mount as mounting
from orlop.lib.errors import Internal, InvalidArgument, OrlopError
from orlop.lib.units import parse_size_bytes
from orlop.wire.compose_model import Mount, MountKind
from orlop.wire.dockerfile.image_config import join_directory
from orlop.wire.dockerfile.model import MountType, RunMount

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from orlop.engine.build.builder import Build
    from orlop.engine.build.step_images import StageState
    from orlop.wire.compose_model import Json

COPY_NAME = "copy"


@dataclass(frozen=True, slots=True)
class PreparedMounts:
    """*key* is what the cache knows of them; *targets* are where they are in the container."""

    mounts: tuple[Mount, ...]
    targets: tuple[str, ...]
    key: Json


@contextlib.asynccontextmanager
async def prepared_mounts(
    build: Build, state: StageState, wanted: Sequence[RunMount], index: int
) -> AsyncIterator[PreparedMounts]:
    """Have the sources of *wanted* be there while the block runs.

    Raises:
        OrlopError: a source cannot be had.
    """
    mounts: list[Mount] = []
    key: list[Json] = []
    async with contextlib.AsyncExitStack() as stack:
        for item in wanted:
            target = join_directory(state.config.working_dir, item.target)
            described: Json = ""
            match item.kind:
                case MountType.TMPFS:
                    mounts.append(_tmpfs(item, target))
                case MountType.CACHE:
                    mounts.append(await stack.enter_async_context(_cache(build, item, target)))
                case MountType.BIND:
                    mount, described = await stack.enter_async_context(
                        _bind(build, item, target, index)
                    )
                    mounts.append(mount)
            key.append([item.kind.value, target, item.source, item.read_only, described])
        yield PreparedMounts(tuple(mounts), tuple(mount.target for mount in mounts), key)


def _tmpfs(item: RunMount, target: str) -> Mount:
    size_bytes = parse_size_bytes(item.size) if item.size else None
    return Mount(MountKind.TMPFS, target, size_bytes=size_bytes)


@contextlib.asynccontextmanager
async def _cache(build: Build, item: RunMount, target: str) -> AsyncIterator[Mount]:
    """A directory that outlives the build."""
    name = sha256_hex((item.id or target).encode())[:32]
    directory = build.cache_mounts
    async with contextlib.AsyncExitStack() as stack:
        if item.sharing == "locked":
            await stack.enter_async_context(directory.lock(name))
        elif item.sharing == "private":
            name = stack.enter_context(directory.private(name))
        else:
            stack.enter_context(directory.using(name))
        path = directory.path(name)
        if not path.exists():
            path.mkdir(parents=True, mode=0o755)
            path.chmod(_number(item.mode, 8, 0o755))
            os.chown(path, _number(item.uid, 10, 0), _number(item.gid, 10, 0))
        yield Mount(MountKind.BIND, target, os.fspath(path), read_only=item.read_only)


def _number(text: str, base: int, default: int) -> int:
    if not text:
        return default
    try:
        value = int(text, base)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 32:
        raise InvalidArgument(f"invalid number in a mount: {text[:40]}")
    return value


@contextlib.asynccontextmanager
async def _bind(
    build: Build, item: RunMount, target: str, index: int
) -> AsyncIterator[tuple[Mount, Json]]:
    async with contextlib.AsyncExitStack() as stack:
        if item.from_:
            layers = await _layers_of(build, item.from_, index)
            root = await stack.enter_async_context(
                mounted_layers(build.store, layers, build.directory)
            )
            source = item.source or "/"
            described: Json = list(layers)
        else:
            layer, digest = await _from_context(build, item)
            root = await stack.enter_async_context(
                mounted_layers(build.store, [layer], build.directory)
            )
            source, described = COPY_NAME, digest
        if root is None:
            raise InvalidArgument(f"{item.from_} has no files to mount")
        path = _inside(root, source)
        if not item.read_only:
            path = await stack.enter_async_context(_scratch_over(build, path))
        mount = Mount(MountKind.BIND, target, os.fspath(path), read_only=item.read_only)
        yield mount, described


async def _layers_of(build: Build, name: str, index: int) -> tuple[str, ...]:
    stage = plan.find_stage(name, build.plan.names, index)
    if stage is not None and stage in build.stages:
        return build.stages[stage].layers
    return (await bases.find_image(build, name)).layers


async def _from_context(build: Build, item: RunMount) -> tuple[str, str]:
    """A layer with the files at `COPY_NAME`, and their digest."""
    source = item.source.lstrip("/") or "."
    job = CopyJob(sources=(source,), destination=f"/{COPY_NAME}")
    try:
        async with copying(
            build.store, (), CopySource(context=build.context), job, build.directory
        ) as found:
            return await found.store(build.session), found.digest
    except OrlopError as error:
        raise type(error)(f"RUN --mount failed: {error}", hint=error.hint) from error


def _inside(root: Path, source: str) -> Path:
    """*source* below *root*, links followed inside of it."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        tree = DirectoryTree(descriptor)
        found = resolve(tree, source)
        if tree.lstat(found) is None:
            raise InvalidArgument(f"RUN --mount failed: stat {source}: file does not exist")
        return root / found
    finally:
        os.close(descriptor)


@contextlib.asynccontextmanager
async def _scratch_over(build: Build, path: Path) -> AsyncIterator[Path]:
    """*path*, writable; what is written is lost."""
    if not path.is_dir():
        raise InvalidArgument("RUN --mount: a file cannot be mounted writable, only a directory")
    base = build.directory / f"over-{os.urandom(4).hex()}"
    upper, work, target = base / "upper", base / "work", base / "root"
    for directory in (base, upper, work, target):
        directory.mkdir(mode=0o755)
    try:
        # The path has names that the image chose, which may hold what separates mount options.
        await asyncio.to_thread(mount_overlay, target, [path], upper, work)
    except OSError as error:
        raise Internal(f"RUN --mount: cannot be made writable: {error}") from error
    try:
        yield target
    finally:
        with contextlib.suppress(OSError):
            mounting.detach(target)
