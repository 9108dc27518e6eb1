"""Root file systems of images, to be read while a build needs them.

A layer is mounted by the store; several become one with an overlay that nobody can write to.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

from orlop.engine.runtime.rootfs import mount_overlay
from orlop.lib import mount
from orlop.lib.errors import Internal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from orlop.engine.store.layered import LayeredImages


@contextlib.asynccontextmanager
async def mounted_layers(
    store: LayeredImages, layers: Sequence[str], directory: Path
) -> AsyncIterator[Path | None]:
    """The root that *layers* make, below *directory* if need be; None for no layers at all.

    Raises:
        OrlopError: a layer is damaged, or cannot be mounted.
    """
    if not layers:
        yield None
        return
    user = f"build {directory.name} {os.urandom(4).hex()}"
    records = [store.layer(diff_id) for diff_id in layers]
    await store.mounts.mount(records, user)
    target: Path | None = None
    try:
        lower = store.mounts.lower(layers)
        if len(lower) == 1:
            yield lower[0]
            return
        target = directory / f"root-{os.urandom(4).hex()}"
        try:
            target.mkdir(mode=0o755)
            await asyncio.to_thread(mount_overlay, target, lower)
        except OSError as error:
            raise Internal(f"cannot mount the layers of an image: {error}") from error
        yield target
    finally:
        if target is not None:
            with contextlib.suppress(OSError):
                mount.detach(target)
            with contextlib.suppress(OSError):
                target.rmdir()
        store.unmount(user)
