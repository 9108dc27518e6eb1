"""Pull and push with Debian's registry on loopback: the same output from both."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.engine.docker_cli.pair import invocations
from tests.engine.registry.registry_host import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engine.docker_cli.pair import Pair

pytestmark = [pytest.mark.root, pytest.mark.engine]


@pytest.fixture(scope="module")
def registry(pair: Pair) -> Iterator[Registry]:
    """After the engine, whose namespaces it shares."""
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    found = Registry(pair.directory / "registry")
    found.start()
    yield found
    found.stop()


@pytest.mark.parametrize("words", invocations("registry"))
def test_registry(pair: Pair, registry: Registry, words: str) -> None:
    # Layers that the one has pulled are there for the other.
    pair.assert_same(words.replace("{host}", registry.host), hide=r"<id>: [A-Z].*\n")
