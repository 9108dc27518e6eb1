"""Each document of RancherOS's keys boots a machine in namespaces, and does there what it says."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orlop.wire.config.rancher import LEFT_OUT
from tests.engine.installed_machine import InstalledMachine
from tests.engine.services.namespaces import wait_until
from tests.engine.test_pid1_native import STAY
from tests.rancheros.documents import DOCUMENTS, generated
from tests.rancheros.seen import Document, Seen

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.root, pytest.mark.engine]

BASH = Path(__file__).parents[2] / "os/services/console/rootfs/usr/bin/bash"
WAITING = "wait-for-docker"
CONSOLE: dict[str, Any] = {
    **STAY,
    "read_only": True,
    "volumes": ["/var/lib/orlop/root:/root", "/var/lib/orlop/home:/home", "/var/mnt:/mnt:rslave"],
}
SERVICES: dict[str, dict[str, Any]] = {
    **{name: {**STAY, "x-orlop": {"config": True}} for name in ("network", "engine", "time")},
    "console": CONSOLE,
    "ssh": {**CONSOLE, "x-orlop": {"config": "reload"}},
}
SAMPLE = ("write_files", "runcmd", "rancher.environment", "rancher.docker.tls", "rancher.sysctl")
"""Which are booted in every run, by their first keys; the others are marked `long`."""


class Machine(InstalledMachine):
    """Its console has the shell of scripts; there is no engine that they could wait for."""

    def _make_service(self, image: Path, definition: dict[str, Any]) -> None:
        super()._make_service(image, definition)
        commands = image / "rootfs/bin"
        shutil.copy(BASH, commands / "bash")
        (commands / WAITING).write_text("#!/bin/sh\n")
        (commands / WAITING).chmod(0o755)


def see(text: str, disk: Path, condition: Callable[[Seen], object]) -> None:
    """Boot with the configuration *text* and wait until *condition* holds."""
    disk.mkdir()
    with Machine(SERVICES, disk, text) as machine:
        seen = Seen(machine, machine.wait_ready())
        assert seen.status["phase"] == "ready"

        def holds() -> bool:
            try:
                return bool(condition(seen))
            except OSError:
                return False

        wait_until(holds, "what the document asks for")


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(
            each, id=each.keys[0], marks=[] if each.keys[0] in SAMPLE else pytest.mark.long
        )
        for each in DOCUMENTS
    ],
)
def test_a_document(document: Document, tmp_path: Path) -> None:
    see(document.text, tmp_path / "disk", document.native)


@pytest.mark.long
@pytest.mark.parametrize("index", range(2), ids=["ssh.keys", "docker.tls"])
def test_a_document_with_keys(index: int, tmp_path: Path) -> None:
    document = generated(tmp_path)[index]
    see(document.text, tmp_path / "disk", document.native)


def test_what_is_left_out_is_said_and_costs_nothing(tmp_path: Path) -> None:
    """Every key of RancherOS that has no equal here, in one document."""
    foreign = [key.replace("NAME", "eth7") for key in LEFT_OUT if key.startswith("rancher.")]
    text = "hostname: brig\n" + as_yaml({key: ["x"] for key in foreign})
    see(
        text,
        tmp_path / "disk",
        lambda seen: (
            seen.status["hostname"] == "brig"
            and all(seen.warned(f"{key}: ", ", ignoring") for key in foreign)
        ),
    )


def as_yaml(values: dict[str, object]) -> str:
    """*values* by dotted key, as a document."""
    import yaml

    tree: dict[str, Any] = {}
    for key, value in values.items():
        *above, last = key.split(".")
        inner = tree
        for name in above:
            inner = inner.setdefault(name, {})
        inner[last] = value
    return str(yaml.safe_dump(tree))
