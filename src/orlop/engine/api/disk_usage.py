"""`GET /system/df`: one part per kind of object, looked up only where the client asked for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from orlop.engine.api import render
from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.engine.api.exchange import Exchange
    from orlop.engine.engine import Engine

KINDS = frozenset({"container", "image", "volume", "build-cache"})


async def respond(engine: Engine, exchange: Exchange) -> None:
    """Answer with sizes in bytes; a kind that was not asked for is null."""
    wanted = _wanted(exchange)
    value: dict[str, Any] = {"LayersSize": 0, "Images": None, "Containers": None, "Volumes": None}
    value |= {"BuildCache": None, "BuilderSize": 0}
    if "image" in wanted:
        value["Images"] = _images(engine)
        value["LayersSize"] = _layers_size(engine)
    if "container" in wanted:
        value["Containers"] = await _containers(engine)
    if "volume" in wanted:
        from orlop.engine.api import volumes

        value["Volumes"] = await volumes.disk_usage(engine)
    if "build-cache" in wanted:
        from orlop.engine.api import build

        value["BuildCache"] = build.cache_usage(engine)
        value["BuilderSize"] = sum(entry["Size"] for entry in value["BuildCache"])
    await exchange.respond_json(200, value)


def _wanted(exchange: Exchange) -> frozenset[str]:
    chosen = exchange.query.get("type")
    if chosen is None or exchange.api_version < (1, 42):
        return KINDS
    for kind in chosen:
        if kind not in KINDS:
            raise InvalidArgument(f"unknown object type: {kind[:40]}")
    return frozenset(chosen)


def _images(engine: Engine) -> list[dict[str, Any]]:
    from orlop.engine.api.image_store import usage

    return usage(engine)


def _layers_size(engine: Engine) -> int:
    from orlop.engine.api import image_render

    store = engine.layered
    if store is None:
        return 0
    return image_render.layers_size(store.all(), store.layer_size)


async def _containers(engine: Engine) -> list[dict[str, Any]]:
    from orlop.engine.api.container_list import sizes

    return [render.summary(container) | await sizes(container) for container in engine.all()]


def tree_size_bytes(directory: Path) -> int:
    """What the files below *directory* hold, one with several names counted once; 0 if absent."""
    total_bytes = 0
    seen: set[int] = set()
    pending = [os.fspath(directory)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    elif status.st_nlink == 1 or status.st_ino not in seen:
                        seen.add(status.st_ino)
                        total_bytes += status.st_size
        except FileNotFoundError:
            # Removed meanwhile.
            continue
    return total_bytes
