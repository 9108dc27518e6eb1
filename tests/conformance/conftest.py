"""Fixtures of the conformance tests: one `orlop engine` for all, with busybox in its store.

Everything happens in namespaces of the test process (`engine_host.enter_namespaces`).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.engine import images as archives
from tests.conformance.clients import Clients
from tests.engine.containers.engine_host import BUSYBOX, prepare_host, running
from tests.engine.store.conftest import StoreEngine

if TYPE_CHECKING:
    from collections.abc import Iterator

# Where the tool root has what comes from PyPI.
sys.path.append("/opt/pip")


@pytest.fixture(scope="session")
def engine() -> Iterator[StoreEngine]:
    prepare_host()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # Not below /tmp's tmpfs, if it is one: overlay wants a real file system.
    directory = Path(tempfile.mkdtemp(prefix="conformance-", dir="/var/tmp"))
    with running(lambda path: StoreEngine(path, path), directory) as process:
        yield process


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
