"""A full disk: what needs space is refused with the reason, all else goes on, and so does that."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orlop.lib import loop, mount
from tests.engine.containers.engine_host import running
from tests.engine.store.archives import LayerBuilder, busybox_layer, docker_archive
from tests.engine.store.conftest import StoreEngine

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.engine]

DISK_BYTES = 160 << 20
SLEEP = ["sleep", "100000"]


@pytest.fixture
def small(images: Path) -> Iterator[StoreEngine]:
    """An engine whose data is on a small disk, with the image `busybox`."""
    if not os.path.exists(loop.CONTROL):
        pytest.skip("this kernel has no loop devices")
    directory = Path(tempfile.mkdtemp(prefix="full-"))
    (directory / "data").mkdir()
    mount.mount("tmpfs", directory / "data", "tmpfs", mount.MountFlag(0), f"size={DISK_BYTES}")
    with running(lambda path: StoreEngine(path, images), directory) as engine:
        answer = engine.load(docker_archive([busybox_layer()], ["busybox:latest"]))
        assert "Loaded image" in answer, answer
        yield engine


def fill(engine: StoreEngine) -> Path:
    """Use up what there is; the file that does."""
    path = engine.directory / "data/ballast"
    with path.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        for size in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    stream.write(bytes(size))
    return path


def lines(engine: StoreEngine) -> int:
    return engine.logs("talks").count(b"line")


def test_a_full_disk_stops_what_needs_space_and_only_as_long_as_it_is_full(
    small: StoreEngine,
) -> None:
    engine = small
    none = {"NetworkMode": "none"}
    engine.run("talks", ["sh", "-c", "while sleep 0.05; do echo line; done"], HostConfig=none)
    engine.run("box", SLEEP, HostConfig=none)
    engine.create("later", SLEEP, HostConfig=none)
    engine.wait_until(lambda: lines(engine))
    archive = docker_archive([LayerBuilder().add("big", os.urandom(4 << 20)).finish()], ["big:1"])

    ballast = fill(engine)
    body = {"Image": "busybox", "Cmd": ["true"]}
    refused = [
        engine.request("POST", "/containers/create?name=new", body),
        engine.request("POST", "/containers/box/rename?name=other"),
        engine.request("POST", "/volumes/create", {"Name": "vol"}),
        engine.request("POST", "/networks/create", {"Name": "net"}),
        engine.request("POST", "/commit?container=box&repo=made"),
    ]
    assert all(status in (500, 503, 507) for status, _ in refused), refused
    assert all("no space left" in answer["message"].lower() for _, answer in refused), refused
    status, text = engine.send("POST", "/images/load?quiet=1", archive)
    assert b"space" in text, (status, text)
    # Nothing of it is there, and what was there works.
    assert engine.request("GET", "/containers/new/json")[0] == 404
    assert engine.request("GET", "/containers/other/json")[0] == 404
    assert engine.state("box") == engine.state("talks") == "running"
    assert engine.request("POST", "/containers/box/stop?t=0")[0] == 204
    assert engine.state("box") == "exited"

    ballast.unlink()
    seen = lines(engine)
    engine.wait_until(lambda: lines(engine) > seen)
    assert engine.request("POST", "/containers/later/start")[0] == 204
    assert engine.request("POST", "/containers/box/rename?name=other")[0] == 204
    assert engine.request("POST", "/containers/other/start")[0] == 204
    assert engine.request("POST", "/volumes/create", {"Name": "vol"})[0] == 201
    engine.load(archive)
    engine.kill()
    assert engine.check() == (0, "nothing is wrong\n")
    engine.start()
    assert engine.state("other") == engine.state("talks") == "running"
    assert "Traceback" not in engine.log()
