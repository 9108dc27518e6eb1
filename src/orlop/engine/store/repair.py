"""Mending a layer whose index is damaged: it is made again from the layer's own tar."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.engine.store import ingest
from orlop.engine.store.directory import TAR
from orlop.engine.store.mounts import DamagedIndex, check_index
from orlop.lib.errors import Internal, InvalidArgument

if TYPE_CHECKING:
    from orlop.engine.store.layered import LayeredImages
    from orlop.engine.store.records import LayerRecord

TIMEOUT_S = 600.0


async def repair_index(store: LayeredImages, layer: LayerRecord) -> None:
    """Make the index of *layer* again, if it is damaged and the layer itself is not.

    Raises:
        Internal: the layer is damaged too.
    """
    directory = store.directory
    try:
        await asyncio.to_thread(check_index, directory.layer(layer.diff_id), layer)
        return
    except DamagedIndex:
        pass
    staging = directory.staging / os.urandom(8).hex()
    staging.mkdir(mode=0o700)
    descriptor = os.open(directory.layer(layer.diff_id) / TAR, os.O_RDONLY | os.O_CLOEXEC)
    try:
        job = {"diff_id": layer.diff_id, "index": "index"}
        facts = await ingest.run_store_worker(
            store, staging, "index", job, source=descriptor, timeout_s=TIMEOUT_S
        )
        changed = replace(
            layer, index_bytes=int(facts["index_bytes"]), index_crc=int(facts["index_crc"])
        )
        async with store.lock:
            await asyncio.to_thread(directory.replace_index, staging, "index", changed)
            store.layers[layer.diff_id] = changed
    except InvalidArgument as error:
        raise Internal(f"layer {layer.diff_id} is damaged: {error}") from error
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            directory.discard(staging)
        store.trash.start()
