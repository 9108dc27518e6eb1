"""The image that each step of a build leads to: its configuration, and how it is stored.

Every step has one, as with dockerd: `docker run ID` goes on from any of them, and the parents of an
image that is deleted go with it.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from orlop.engine.api.times import to_text
from orlop.engine.images import sha256_hex
from orlop.engine.store.records import ImageRecord
from orlop.lib.errors import InvalidArgument
from orlop.wire.dockerfile import image_config
from orlop.wire.dockerfile.image_config import DEFAULT_PATH, ImageConfig
from orlop.wire.image_config import MAX_DOCUMENT_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.engine.store.ingest import Ingest
    from orlop.engine.store.layered import LayeredImages

MAX_HISTORY = 10_000
_KEPT = ("architecture", "os", "variant", "os.version", "os.features", "author")


@dataclass(slots=True, kw_only=True)
class StageState:
    """Where a stage has got to. *image_id* is empty as long as there is only `scratch`."""

    image_id: str = ""
    layers: tuple[str, ...] = ()
    config: ImageConfig = field(default_factory=ImageConfig)
    base: Mapping[str, Any] = field(default_factory=dict)
    """What images made here have in common with the one they began with: `_KEPT`."""
    history: tuple[Mapping[str, Any], ...] = ()
    author: str = ""
    command_is_set: bool = False
    record: ImageRecord | None = None
    is_new: bool = False
    """The last step was not in the cache: nothing after it can be."""


def scratch(architecture: str, system: str, variant: str) -> StageState:
    """Nothing at all, for a platform."""
    base = {"architecture": architecture, "os": system}
    if variant:
        base["variant"] = variant
    return StageState(base=base)


def from_record(record: ImageRecord) -> StageState:
    """The image *record*, whose triggers are still in its configuration."""
    history = record.config.get("history")
    entries = tuple(entry for entry in history if isinstance(entry, dict)) if history else ()
    return StageState(
        image_id=record.id,
        layers=record.layers,
        config=image_config.from_json(record.section()),
        base={key: record.config[key] for key in _KEPT if key in record.config},
        history=entries[:MAX_HISTORY],
        record=record,
    )


def with_path(state: StageState) -> None:
    """PATH, for what has none: dockerd puts it into the configuration at FROM."""
    if "PATH" not in state.config.environment_map():
        environment = (*state.config.environment, ("PATH", DEFAULT_PATH))
        state.config = replace(state.config, environment=environment)


def make_document(
    state: StageState,
    config: ImageConfig,
    created_by: str,
    layer: str | None,
    now_ns: int,
    version: str = "",
) -> dict[str, Any]:
    """The configuration of the image after a step; without *layer* it changed no file. Pure."""
    created = to_text(now_ns)
    entry: dict[str, Any] = {"created": created, "created_by": created_by}
    if state.author:
        entry["author"] = state.author
    if layer is None:
        entry["empty_layer"] = True
    layers = state.layers if layer is None else (*state.layers, layer)
    document: dict[str, Any] = {
        **state.base,
        "created": created,
        "config": image_config.to_json(config),
        "history": [*state.history, entry],
        "rootfs": {"type": "layers", "diff_ids": list(layers)},
    }
    if state.author:
        document["author"] = state.author
    if version:
        document["docker_version"] = version
    return document


async def store_image(
    store: LayeredImages, session: Ingest, document: Mapping[str, Any], parent_id: str
) -> ImageRecord:
    """Store the image of *document*, which this process made and whose layers are there.

    No worker looks at it: nothing in it was not checked before.

    Raises:
        OSError: no space. InvalidArgument: it is larger than one may be.
    """
    data = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")
    if len(data) > MAX_DOCUMENT_BYTES:
        raise InvalidArgument(
            f"the configuration of the image is larger than {MAX_DOCUMENT_BYTES} bytes"
        )
    image_id = f"sha256:{sha256_hex(data)}"
    session.pin(image_id)
    await asyncio.to_thread(store.directory.write_blob, data, image_id)
    record = ImageRecord(
        id=image_id,
        layers=tuple(document["rootfs"]["diff_ids"]),
        config=document,
        parent=parent_id,
        added_ns=time.time_ns(),
    )
    async with store.lock:
        await store.add_image(record, ())
    return record
