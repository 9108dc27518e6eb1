"""A store without a disk: on a file system that cannot back a mount."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orlop.lib import loop, mount
from tests.engine.containers.engine_host import running
from tests.engine.store.archives import busybox_layer, docker_archive
from tests.engine.store.conftest import StoreEngine

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def in_memory(images: Path) -> Iterator[StoreEngine]:
    if not os.path.exists(loop.CONTROL):
        pytest.skip("this kernel has no loop devices")
    yield from run_on("tmpfs", images)


@pytest.fixture
def on_ramfs(images: Path) -> Iterator[StoreEngine]:
    yield from run_on("ramfs", images)


def run_on(fstype: str, images: Path) -> Iterator[StoreEngine]:
    """An engine whose data is on a file system in memory."""
    directory = Path(tempfile.mkdtemp(prefix="sm-"))
    (directory / "data").mkdir()
    mount.mount(fstype, directory / "data", fstype)
    # Its end detaches what is mounted below its directory.
    with running(lambda directory: StoreEngine(directory, images), directory) as process:
        yield process


def test_layers_on_tmpfs_are_mounted_through_loop_devices(in_memory: StoreEngine) -> None:
    in_memory.load(docker_archive([busybox_layer()], ["busybox:latest"]))

    in_memory.run("web", ["echo", "hello"])

    assert in_memory.wait("web") == 0
    assert in_memory.logs("web") == b"hello\n"
    assert in_memory.request("DELETE", "/containers/web")[0] == 204
    assert in_memory.request("DELETE", "/images/busybox")[0] == 200
    in_memory.wait_until(lambda: not loops_on(in_memory.directory))


def test_a_ramfs_has_no_size_but_room(on_ramfs: StoreEngine) -> None:
    assert "Loaded image" in on_ramfs.load(docker_archive([busybox_layer()], ["busybox:latest"]))

    on_ramfs.run("web", ["true"])

    assert on_ramfs.wait("web") == 0


def loops_on(directory: Path) -> list[str]:
    """Loop devices whose file is below *directory*."""
    names = Path("/sys/block").glob("loop*/loop/backing_file")
    return [text for path in names if (text := path.read_text()).startswith(str(directory))]
