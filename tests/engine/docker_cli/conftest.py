"""One engine for all comparisons."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engine.containers.engine_host import (
    BUSYBOX,
    EngineProcess,
    enter_namespaces,
    make_image,
)
from tests.engine.docker_cli.pair import Pair

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def shared_engine() -> Iterator[EngineProcess]:
    for needed in ("/usr/bin/crun", "/usr/bin/docker", str(BUSYBOX)):
        if not Path(needed).exists():
            pytest.skip(f"{needed} is not installed")
    if os.geteuid() != 0:
        pytest.skip("needs root for namespaces and mounts")
    enter_namespaces()
    images = Path(tempfile.mkdtemp(prefix="orlop-images-"))
    make_image(images)
    directory = Path(tempfile.mkdtemp(prefix="oe-"))
    engine = EngineProcess(directory, images)
    try:
        engine.start()
        yield engine
    finally:
        engine.stop()
        shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree(images)


@pytest.fixture(scope="session")
def pair(shared_engine: EngineProcess, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(shared_engine.socket_path, tmp_path_factory.mktemp("pair"))
