"""What the build cache holds, and clearing it out."""

from __future__ import annotations

import asyncio
import contextlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from orlop.engine.api.times import to_text
from orlop.lib.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from orlop.engine.build.cache import CacheEntry
    from orlop.engine.build.service import Builds
    from orlop.engine.store.layered import LayeredImages
    from orlop.engine.store.records import ImageRecord

EVERY: Mapping[str, str] = MappingProxyType({})
ID_DIGITS = 25
"""Of an entry's key, as many as BuildKit's ids have."""


def needed_images(store: LayeredImages, in_use: Iterable[str]) -> set[str]:
    """Images with a name or a container, and those they were built from."""
    waiting = {*store.tags.values(), *store.digests.values(), *in_use}
    needed: set[str] = set()
    while waiting:
        image_id = waiting.pop()
        record = store.images.get(image_id)
        if record is not None and image_id not in needed:
            needed.add(image_id)
            waiting.add(record.parent)
    return needed


def usage(builds: Builds) -> list[dict[str, Any]]:
    """`BuildCache` in `GET /system/df`."""
    needed = needed_images(builds.store, builds.store.images_in_use())
    found = []
    for entry in builds.cache.entries().values():
        record = builds.store.images.get(entry.image_id)
        if record is None or record.removed:
            continue
        is_needed = entry.image_id in needed
        found.append(
            {
                "ID": entry.key[:ID_DIGITS],
                "Parents": [entry.parent_id] if entry.parent_id else [],
                "Type": "regular",
                "Description": entry.text,
                "InUse": is_needed,
                "Shared": is_needed,
                "Size": own_size(builds.store, record),
                "CreatedAt": to_text(entry.created_ns),
                "LastUsedAt": to_text(entry.used_ns),
                "UsageCount": entry.uses + 1,
            }
        )
    return found


def own_size(store: LayeredImages, record: ImageRecord) -> int:
    """Bytes in the files of the layer that an image adds to its parent's; 0 if it adds none."""
    parent = store.images.get(record.parent)
    if parent is not None and len(parent.layers) >= len(record.layers):
        return 0
    layer = store.layers.get(record.layers[-1]) if record.layers else None
    return layer.content_bytes if layer is not None else 0


async def prune(
    builds: Builds,
    remove: Callable[[ImageRecord], Awaitable[object]],
    *,
    everything: bool,
    until_ns: int | None = None,
    keep_bytes: int = 0,
    fields: Mapping[str, str] = EVERY,
) -> tuple[list[str], int]:
    """Forget steps, and *remove* images that only they keep; ids of entries, bytes of files.

    Without *everything* steps of images that have a name or a container stay. *until_ns*: only
    what was last used before. The latest that together have *keep_bytes* stay. With *fields* only
    entries that have them, see `_has_fields`, and no cache mount.
    """
    store, cache = builds.store, builds.cache
    entries = sorted(cache.entries().values(), key=lambda item: item.used_ns, reverse=True)
    needed = needed_images(store, store.images_in_use())
    chosen: list[CacheEntry] = []
    kept_bytes = 0
    for entry in entries:
        record = store.images.get(entry.image_id)
        size = own_size(store, record) if record is not None else 0
        if keep_bytes and kept_bytes + size <= keep_bytes:
            kept_bytes += size
        elif (
            (everything or entry.image_id not in needed)
            and (until_ns is None or entry.used_ns < until_ns)
            and _has_fields(entry, fields, in_use=entry.image_id in needed)
        ):
            chosen.append(entry)
    freed = 0
    # The latest first: an image goes only when none was built from it.
    for entry in sorted(chosen, key=lambda item: item.created_ns, reverse=True):
        cache.drop(entry.key)
        record = store.images.get(entry.image_id)
        if record is not None and entry.image_id not in needed:
            size = own_size(store, record)
            # One that an image was built from which the cache has forgotten stays.
            with contextlib.suppress(Conflict):
                await remove(record)
            freed += size if entry.image_id not in store.images else 0
    freed += 0 if fields else await _prune_mounts(builds)
    return [entry.key[:ID_DIGITS] for entry in chosen], freed


def _has_fields(entry: CacheEntry, fields: Mapping[str, str], *, in_use: bool) -> bool:
    """Whether *entry* is shown by `usage` with *fields*; of the id a part is enough."""
    shown = {
        "parent": entry.parent_id,
        "type": "regular",
        "description": entry.text,
        "inuse": str(in_use).lower(),
        "shared": str(in_use).lower(),
        "private": str(not in_use).lower(),
    }
    return all(
        text in entry.key[:ID_DIGITS] if name == "id" else shown.get(name) == text
        for name, text in fields.items()
    )


async def _prune_mounts(builds: Builds) -> int:
    from orlop.engine.api.disk_usage import tree_size_bytes

    freed = 0
    for name in builds.cache_mounts.names():
        if not builds.cache_mounts.is_used(name):
            path = builds.cache_mounts.path(name)
            freed += await asyncio.to_thread(tree_size_bytes, path)
            builds.discard(path)
    return freed
