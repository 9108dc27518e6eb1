"""One engine for all comparisons of a module, with images of its own, as a user starts it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.containers.engine_host import prepare_host, running
from tests.engine.docker_cli.pair import Pair
from tests.engine.store.archives import LayerBuilder, busybox_layer, docker_archive
from tests.engine.store.conftest import StoreEngine

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def shared_engine() -> Iterator[StoreEngine]:
    prepare_host("/usr/bin/docker")
    with running(lambda directory: StoreEngine(directory, directory)) as engine:
        engine.load(docker_archive([busybox_layer(), _more_applets()], ["busybox:latest"]))
        yield engine


def _more_applets() -> bytes:
    layer = LayerBuilder()
    for applet in ["hostname", "printf", "pwd", "readlink", "stty", "tty"]:
        layer.link(f"bin/{applet}", "busybox")
    return layer.finish()


@pytest.fixture(scope="module")
def pair(shared_engine: StoreEngine, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(shared_engine.socket_path, tmp_path_factory.mktemp("pair"))
