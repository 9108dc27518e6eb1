"""Fixtures: an engine with the images of the catalogue, and services as their definitions say."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orlop.wire.compose import parse_services
from orlop.wire.compose_model import MountKind, Seccomp, ServiceDefinition
from orlop.wire.located_yaml import parse_yaml
from tests.engine.containers.conftest import images
from tests.engine.containers.engine_host import running
from tests.engine.store.conftest import StoreEngine

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["images"]

CATALOGUE = Path(__file__).parents[3] / "out/catalogue"


class CatalogueEngine(StoreEngine):
    """A user's engine that loads images from the catalogue that was built."""

    def __init__(self, directory: Path, images: Path) -> None:
        super().__init__(directory, images)
        self.machine = directory / "machine"
        """Stands for the machine's root: what definitions mount comes from here."""
        self._loaded: set[str] = set()

    def add(self, name: str) -> str:
        """Load the image of *name* once; its reference."""
        index = json.loads((CATALOGUE / "index.json").read_text())
        row = next(rows[name] for rows in index.values() if name in rows)
        [(reference, image)] = row["images"].items()
        if name not in self._loaded:
            archive = (CATALOGUE / image["archive"]).read_bytes()
            assert len(archive) == image["size_bytes"]
            assert f"Loaded image: {reference}" in self.load(archive)
            self._loaded.add(name)
        return str(reference)

    def serve(self, name: str, command: list[str] | None = None, **host: Any) -> str:
        """Run service *name* of the catalogue as its definition says; the container's name."""
        reference = self.add(name)
        service = definition(name)
        body = {
            "Image": reference,
            "User": service.user,
            "Env": [f"{key}={value}" for key, value in service.environment],
            "HostConfig": self._host_config(service) | host,
        }
        self.run(name, command or list(service.command), **body)
        return name

    def _host_config(self, service: ServiceDefinition) -> dict[str, Any]:
        binds, tmpfs = [], {}
        for mount in service.mounts:
            if mount.kind is MountKind.TMPFS:
                tmpfs[mount.target] = f"mode={mount.mode or 0o1777:o}"
            else:
                source = self.machine / mount.source.lstrip("/")
                source.mkdir(parents=True, exist_ok=True)
                mode = "ro" if mount.read_only else "rw"
                binds.append(f"{source}:{mount.target}:{mode},{mount.propagation.value}")
        filters = ["seccomp=unconfined"] if service.seccomp is Seccomp.NONE else []
        return {
            "Binds": binds,
            "Tmpfs": tmpfs,
            "ReadonlyRootfs": service.read_only,
            "CapDrop": ["ALL"],
            "CapAdd": list(service.cap_add),
            "NetworkMode": service.network_mode,
            "PidsLimit": service.pids_limit,
            "Memory": service.memory_limit_bytes or 0,
            "SecurityOpt": filters,
        }

    def wait_for_log(self, name: str, text: str) -> str:
        """Wait until *name* has written *text*; all it wrote."""
        self.wait_until(lambda: text in self.logs(name).decode() or self.state(name) == "exited")
        written = self.logs(name).decode()
        assert text in written, written
        return written

    def remove(self, name: str) -> None:
        status, answer = self.request("DELETE", f"/containers/{name}?force=1&v=1")
        assert status == 204, answer


def definition(name: str) -> ServiceDefinition:
    """The service of the catalogue's entry *name*."""
    path = CATALOGUE / name / "service.yml"
    document = parse_yaml(str(path), path.read_text())
    assert isinstance(document.data, dict)
    return parse_services(document.data, document.locate)[0]


@pytest.fixture(scope="module")
def catalogue(images: Path) -> Iterator[CatalogueEngine]:
    """One engine for a module; `./orlop test` has built the entries before."""
    assert (CATALOGUE / "index.json").exists(), "build it first: ./orlop catalogue build"
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    directory = Path(tempfile.mkdtemp(prefix="oc-", dir="/var/tmp"))
    try:
        with running(lambda place: CatalogueEngine(place, images), directory) as engine:
            yield engine
    finally:
        shutil.rmtree(directory, ignore_errors=True)
