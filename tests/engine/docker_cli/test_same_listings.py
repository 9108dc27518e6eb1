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


@pytest.mark.parametrize("words", invocations("networks"))
def test_networks(pair: Pair, words: str) -> None:
    pair.assert_same(words)


@pytest.mark.parametrize("words", ["info", "version"])
def test_what_the_server_is(pair: Pair, words: str) -> None:
    """What is said about the client is each command's own."""
    pair.assert_same(words, hide=r"(?s)^Client:.*?\nServer:")
