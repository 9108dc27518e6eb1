"""Images, networks, volumes and the engine itself: the same output from both commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.docker_cli.pair import invocations

if TYPE_CHECKING:
    from tests.engine.docker_cli.pair import Pair

pytestmark = [pytest.mark.root, pytest.mark.engine]


@pytest.mark.parametrize("words", invocations("listings"))
def test_listings(pair: Pair, words: str) -> None:
    pair.assert_same(words, "n\n" if "prune" in words else "")
