"""`orlop disks`: the state's mirror, and the disk that it is given."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from orlop.cli.main import main
from tests.unit.cli.test_install import stream

if TYPE_CHECKING:
    from tests.unit.cli.fake_engine import FakeEngine

MIRROR = {
    "device": "/dev/md127",
    "wanted": 2,
    "missing": 1,
    "parts": [{"device": "/dev/vda3", "state": "in_sync"}],
    "action": "idle",
    "share": None,
}


def test_its_halves_are_shown(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    kept = {"kind": "disk", "device": "/dev/md127", "paths": ["/root"], "mirror": MIRROR}
    engine.answer("GET /orlop/disks", {"disks": [], "persistence": kept})
    assert main(["disks"]) == 0
    shown = capsys.readouterr().out
    assert "mirror /dev/md127: /dev/vda3 is whole, a disk is missing" in shown
    apart = [{"device": "/dev/vdb3", "used_s": 1500}]
    kept["mirror"] = {**MIRROR, "apart": apart}
    engine.answer("GET /orlop/disks", {"disks": [], "persistence": kept})
    assert main(["disks"]) == 0
    shown = capsys.readouterr().out
    assert "a disk is missing, /dev/vdb3 was used alone and is left as it is" in shown
    parts = [*MIRROR["parts"], {"device": "/dev/vdb3", "state": "spare"}]  # type: ignore[misc]
    kept["mirror"] = {**MIRROR, "parts": parts, "share": 0.25}
    engine.answer("GET /orlop/disks", {"disks": [], "persistence": kept})
    assert main(["disks"]) == 0
    assert "/dev/vdb3 is being filled, 25% done" in capsys.readouterr().out


def test_a_disk_is_given_to_it(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    said = stream({"text": "is being filled", "result": {"device": "/dev/vdb"}})
    engine.answer_raw("POST /orlop/disks/mirror", said)
    assert main(["disks", "mirror", "virtio-b", "--wipe"]) == 0
    [(_, data)] = engine.requests
    assert json.loads(data) == {"disk": "virtio-b", "wipe": True}
    assert capsys.readouterr().out == "is being filled\n"
    assert main(["disks", "mirror"]) == 2
    assert main(["disks", "heal"]) == 2
