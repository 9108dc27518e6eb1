"""Images that a build was told to take its cache from (`--cache-from`).

With such a list a step counts as done only if one of the images has it: as an ancestor that was
made here, or in its history, which is what is left of a build that was pulled. The texts there
hold the digest of what COPY took, so equal texts after equal layers are equal steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orlop.engine.build import step_images

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop.engine.build.step_images import StageState
    from orlop.engine.store.layered import LayeredImages
    from orlop.engine.store.records import ImageRecord


@dataclass(frozen=True, slots=True)
class CacheSources:
    """The images of the list that are there; *ancestors* are their ids and those of all before."""

    images: tuple[StageState, ...]
    ancestors: frozenset[str]


def gather(store: LayeredImages, records: Sequence[ImageRecord]) -> CacheSources:
    """What *records* and their ancestors in *store* may be used for."""
    ancestors: set[str] = set()
    for record in records:
        known: ImageRecord | None = record
        while known is not None and known.id not in ancestors:
            ancestors.add(known.id)
            known = store.images.get(known.parent) if known.parent else None
    return CacheSources(tuple(map(step_images.from_record, records)), frozenset(ancestors))


def find_step(
    sources: CacheSources, state: StageState, text: str
) -> tuple[Mapping[str, Any], str | None] | None:
    """The entry of a history that is the step *text* after *state*, and its layer if it has one."""
    done = len(state.history)
    for image in sources.images:
        if len(image.history) <= done or image.history[:done] != state.history:
            continue
        if image.layers[: len(state.layers)] != state.layers:
            continue
        entry = image.history[done]
        if not text or entry.get("created_by") != text:
            continue
        if entry.get("empty_layer"):
            return entry, None
        if len(image.layers) > len(state.layers):
            return entry, image.layers[len(state.layers)]
    return None
