"""Fixtures: an engine on this Linux with the real runtime."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engine.containers.engine_host import (
    BUSYBOX,
    EngineProcess,
    UserEngine,
    enter_namespaces,
    make_image,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def images() -> Iterator[Path]:
    """A directory with the image `busybox`, and namespaces entered."""
    for needed in ("/usr/bin/crun", str(BUSYBOX)):
        if not Path(needed).exists():
            pytest.skip(f"{needed} is not installed")
    if os.geteuid() != 0:
        pytest.skip("needs root for namespaces and mounts")
    enter_namespaces()
    directory = Path(tempfile.mkdtemp(prefix="orlop-images-"))
    make_image(directory)
    source = Path(__file__).parents[3] / "os/init/container-init.c"
    command = ["musl-gcc", "-static", "-Os", "-Wall", "-Wextra", "-Werror", "-o"]
    subprocess.run([*command, directory / ".init", source], check=True)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def engine(images: Path) -> Iterator[EngineProcess]:
    """A fresh engine; what it wrote is shown when the test fails."""
    directory = Path(tempfile.mkdtemp(prefix="oe-"))
    process = EngineProcess(directory, images)
    try:
        process.start()
        yield process
    finally:
        process.stop()
        print(process.log())
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def user_engine(images: Path) -> Iterator[UserEngine]:
    """The same as its user starts it: `orlop engine`."""
    directory = Path(tempfile.mkdtemp(prefix="ue-"))
    process = UserEngine(directory, images)
    try:
        process.start()
        yield process
    finally:
        process.stop()
        print(process.log())
        shutil.rmtree(directory, ignore_errors=True)
