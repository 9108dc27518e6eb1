"""What people do with containers, in the order of a day: the same output from both commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.docker_cli.pair import invocations

if TYPE_CHECKING:
    from tests.engine.docker_cli.pair import Pair

pytestmark = [pytest.mark.root, pytest.mark.engine]

STDIN = {
    "run --rm -i busybox wc -c": "x" * 70_000,
    "run --rm -i busybox cat": "some\nlines\n",
    "exec -i {me}-day cat": "through exec\n",
    "container prune": "n\n",
}


@pytest.mark.parametrize("words", invocations("containers"))
def test_containers(pair: Pair, words: str) -> None:
    pair.assert_same(words, STDIN.get(words, ""))
