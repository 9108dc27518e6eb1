"""Command lines that are wrong, and what both commands say about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.docker_cli.pair import invocations

if TYPE_CHECKING:
    from tests.engine.docker_cli.pair import Pair

pytestmark = [pytest.mark.root, pytest.mark.engine]


@pytest.mark.parametrize("words", invocations("wrong"))
def test_wrong_command_lines(pair: Pair, words: str) -> None:
    pair.assert_same(words)
