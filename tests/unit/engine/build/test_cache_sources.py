"""What a build may take from the history of an image."""

from __future__ import annotations

from typing import Any

from orlop.engine.build.cache_sources import CacheSources, find_step
from orlop.engine.build.step_images import StageState

BASE: dict[str, Any] = {"created": "2026", "created_by": "base"}
ENV: dict[str, Any] = {"created": "2027", "created_by": "ENV a=b", "empty_layer": True}
RUN: dict[str, Any] = {"created": "2028", "created_by": "/bin/sh -c make"}


def sources(*histories: tuple[dict[str, Any], ...]) -> CacheSources:
    images = tuple(
        StageState(history=history, layers=tuple(f"sha256:{n}" for n in range(2)))
        for history in histories
    )
    return CacheSources(images, frozenset())


def state(*history: dict[str, Any], layers: int = 1) -> StageState:
    return StageState(history=history, layers=tuple(f"sha256:{n}" for n in range(layers)))


def test_steps_are_found_one_after_the_other() -> None:
    known = sources((BASE, ENV, RUN))
    assert find_step(known, state(BASE), "ENV a=b") == (ENV, None)
    assert find_step(known, state(BASE, ENV), "/bin/sh -c make") == (RUN, "sha256:1")
    assert find_step(known, state(BASE, ENV, RUN, layers=2), "more") is None


def test_another_history_text_or_layer_is_no_match() -> None:
    known = sources((BASE, RUN))
    assert find_step(known, state(BASE), "/bin/sh -c other") is None
    assert find_step(known, state({**BASE, "created": "2020"}), "/bin/sh -c make") is None
    other = StageState(history=(BASE,), layers=("sha256:other",))
    assert find_step(known, other, "/bin/sh -c make") is None


def test_a_step_without_a_text_that_says_all_is_never_taken() -> None:
    known = sources((BASE, {"created": "1", "created_by": ""}))
    assert find_step(known, state(BASE), "") is None


def test_a_layer_that_the_image_does_not_have_is_no_match() -> None:
    known = sources((BASE, RUN, {**RUN, "created_by": "third"}))
    assert find_step(known, state(BASE, RUN, layers=2), "third") is None
