"""Images that a person brings to the system's engine: beside those of the release, and kept."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engine.native_machine import NativeMachine
from tests.engine.store.archives import busybox_layer, docker_archive

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.engine]

STAY = {"command": ["/bin/sh", "-c", "while :; do sleep 1; done"], "restart": "always"}


IMAGES = "/var/lib/orlop/images"


@pytest.fixture
def disk() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="orlop-images-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def reexecute(machine: NativeMachine, count: int) -> None:
    assert machine.request("POST", "/orlop/reexec")[0] == 204
    machine.wait_for(lambda found: found["reexecutions"] == count and found["phase"] == "ready")


def names(machine: NativeMachine) -> list[str]:
    found = machine.request("GET", "/images/json")[1]
    return sorted(name for image in found for name in image["RepoTags"])


def test_an_image_is_kept_and_runs(disk: Path) -> None:
    archive = docker_archive([busybox_layer()], ["debian:13"])
    with NativeMachine({"console": STAY}, disk=disk) as machine:
        machine.wait_ready()
        assert not machine.path(IMAGES).exists()
        assert machine.request("GET", "/images/debian:13/json")[0] == 404
        machine.keep(IMAGES)
        said = machine.request("POST", "/images/load?quiet=1", archive)[1]
        assert said == {"stream": "Loaded image: debian:13\n"}
        assert names(machine) == ["console:latest", "debian:13"]
        body = {"Image": "debian:13", "Cmd": ["sh", "-c", "exit 7"], "NetworkMode": "host"}
        code, made = machine.request("POST", "/containers/create?name=trial", body)
        assert code == 201, made
        for count in (1, 2):
            started = machine.request("POST", "/containers/trial/start")
            assert started[0] == 204, started
            assert machine.request("POST", "/containers/trial/wait")[1]["StatusCode"] == 7
            reexecute(machine, count)
        assert machine.request("DELETE", "/images/debian:13")[0] == 409
    with NativeMachine({"console": STAY}, disk=disk) as machine:
        machine.wait_ready()
        machine.keep(IMAGES)
        reexecute(machine, 1)
        assert names(machine) == ["console:latest", "debian:13"]
        assert machine.request("DELETE", "/images/debian:13")[0] == 200
        assert names(machine) == ["console:latest"]
        # What belongs to the release stays.
        assert machine.request("DELETE", "/images/console")[0] == 404
