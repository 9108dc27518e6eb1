"""Fixtures of the conformance tests: one `orlop engine` for all, with busybox in its store.

Everything happens in namespaces of the test process (`engine_host.enter_namespaces`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.engine import images as archives
from tests.conformance.clients import Clients
from tests.engine.containers.engine_host import BUSYBOX, UserEngine, enter_namespaces

if TYPE_CHECKING:
    from collections.abc import Iterator

# Where the tool root has what comes from PyPI.
sys.path.append("/opt/pip")


class StoreEngine(UserEngine):
    """With a store of its own instead of images as directories."""

    def command_line(self) -> list[str | Path]:
        return [word for word in super().command_line() if not str(word).startswith("--images")]


@pytest.fixture(scope="session")
def engine() -> Iterator[StoreEngine]:
    for needed in ("/usr/bin/crun", str(BUSYBOX)):
        if not Path(needed).exists():
            pytest.skip(f"{needed} is not installed")
    if os.geteuid() != 0:
        pytest.skip("needs root for namespaces and mounts")
    enter_namespaces()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # Not below /tmp's tmpfs, if it is one: overlay wants a real file system.
    directory = Path(tempfile.mkdtemp(prefix="conformance-", dir="/var/tmp"))
    process = StoreEngine(directory, directory)
    try:
        process.start()
        yield process
    finally:
        process.stop()
        print(process.log())
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def clients(engine: StoreEngine) -> Clients:
    """The clients, and the images `busybox` and `alpine` (the same) to work with."""
    found = Clients(engine.socket_path, engine.directory)
    archive = engine.directory / "busybox.tar"
    layer = archives.small_layer(engine.directory / "busybox", applets())
    archives.make_archive(archive, "busybox:latest", [layer])
    assert "Loaded image: busybox:latest" in found.docker("load", "--input", str(archive))
    found.docker("tag", "busybox", "alpine:latest")
    return found


def applets() -> list[str]:
    """All that busybox can be."""
    listed = subprocess.run([BUSYBOX, "--list"], stdout=subprocess.PIPE, text=True, check=True)
    return [name for name in listed.stdout.split() if name != "busybox"]
