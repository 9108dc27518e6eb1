"""Whether the user's engine looks for a disk with images, as the configuration says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.installed_machine import InstalledMachine

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.engine]

WORDS = ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"]
ENGINE: dict[str, dict[str, Any]] = {
    "engine": {"command": [*WORDS, "--preload-label=ORLOP_LOAD"], "restart": "always"}
}


@pytest.mark.parametrize(("said", "option"), [("true", "label"), ("false", "refused")])
def test_as_configured(tmp_path: Path, said: str, option: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    config = f"orlop: {{engine: {{preload_disk: {said}}}}}\n"
    with InstalledMachine(ENGINE, disk, config) as machine:
        machine.wait_for(lambda found: any(s["pid"] for s in found["services"]))
        _, inspected = machine.request("GET", "/containers/engine/json")
        assert inspected["Args"][-1] == f"--preload-{option}=ORLOP_LOAD"
