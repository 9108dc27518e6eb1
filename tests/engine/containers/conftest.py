"""Fixtures: an engine on this Linux with the real runtime."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engine.containers.engine_host import (
    EngineProcess,
    UserEngine,
    make_image,
    prepare_host,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def images() -> Iterator[Path]:
    """A directory with the image `busybox`, and namespaces entered."""
    prepare_host()
    directory = Path(tempfile.mkdtemp(prefix="orlop-images-"))
    make_image(directory)
    source = Path(__file__).parents[3] / "os/init/container-init.c"
    command = ["musl-gcc", "-static", "-Os", "-Wall", "-Wextra", "-Werror", "-o"]
    subprocess.run([*command, directory / ".init", source], check=True)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def engine(images: Path) -> Iterator[EngineProcess]:
    """A fresh engine."""
    with running(lambda directory: EngineProcess(directory, images)) as process:
        yield process


@pytest.fixture
def user_engine(images: Path) -> Iterator[UserEngine]:
    """The same as its user starts it: `orlop engine`."""
    with running(lambda directory: UserEngine(directory, images)) as process:
        yield process
