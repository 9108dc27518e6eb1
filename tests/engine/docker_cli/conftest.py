"""One engine for all comparisons, with images of its own, as a user starts it."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engine.containers.engine_host import BUSYBOX, enter_namespaces, make_image
from tests.engine.docker_cli.pair import Pair
from tests.engine.store.archives import LayerBuilder, busybox_layer, docker_archive
from tests.engine.store.conftest import StoreEngine

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def shared_engine() -> Iterator[StoreEngine]:
    for needed in ("/usr/bin/crun", "/usr/bin/docker", str(BUSYBOX)):
        if not Path(needed).exists():
            pytest.skip(f"{needed} is not installed")
    if os.geteuid() != 0:
        pytest.skip("needs root for namespaces and mounts")
    enter_namespaces()
    images = Path(tempfile.mkdtemp(prefix="orlop-images-"))
    make_image(images)
    directory = Path(tempfile.mkdtemp(prefix="oe-"))
    engine = StoreEngine(directory, images)
    try:
        engine.start()
        engine.load(docker_archive([busybox_layer(), _more_applets()], ["busybox:latest"]))
        yield engine
    finally:
        engine.stop()
        shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree(images)


def _more_applets() -> bytes:
    layer = LayerBuilder()
    for applet in ["hostname", "printf", "pwd", "readlink", "stty", "tty"]:
        layer.link(f"bin/{applet}", "busybox")
    return layer.finish()


@pytest.fixture(scope="session")
def pair(shared_engine: StoreEngine, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(shared_engine.socket_path, tmp_path_factory.mktemp("pair"))
