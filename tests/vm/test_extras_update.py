"""A machine that finds its state with the storage extras alone is updated, and finds it again."""

from __future__ import annotations

import base64
import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from orlop.cli.host import release
from orlop.image.disk import DiskImage, make_disk
from orlop.lib.process import run
from orlop.vm.spec import Disk, Firmware, Installed
from tests.vm import guest
from tests.vm.next_image import make_next
from tests.vm.test_extras import storage
from tests.vm.test_releases import Web

if TYPE_CHECKING:
    from pathlib import Path

    from tests.vm.lab import Lab

TIMEOUT_S = 600.0
SIZE_BYTES = 700 << 20
BUILD = "cafecafecafecafe"
CONFIGURATION = b"orlop: {health: {settle: 20s, deadline: 600s}}\n"
APPEND = "orlop.state=LABEL=XSTATE"


@pytest.mark.long
def test_a_state_that_needs_them_is_found_after_an_update(lab: Lab, tmp_path: Path) -> None:
    old, new = lab.out / "orlop-extras.erofs", tmp_path / "orlop-extras.erofs"
    new.write_bytes(old.read_bytes() + bytes(4096))  # the same with another digest
    image = make_next(lab.out / "orlop.efi", BUILD, tmp_path / "next", new)
    keys, folder, path = tmp_path / "keys", tmp_path / "repository", tmp_path / "disk.raw"
    release.main(["new-keys", str(keys)])
    places = ["--key", str(keys), "--out", str(folder), "--channel", "stable"]
    words = [*places, "--image", str(image), "--no-delta"]
    release.main([*words, "--version", "2.0", "--no-extras"])
    wanted = DiskImage(
        lab.out / "orlop.iso", SIZE_BYTES, configuration=CONFIGURATION, append=APPEND, extras=old
    )
    make_disk(wanted, path, tmp_path, lambda words, env: run(words, env=env), epoch=1_700_000_000)
    state = lab.disk("xstate", 400)
    subprocess.run(["mkfs.xfs", "-q", "-L", "XSTATE", state.path], check=True)
    medium, disks = Installed(Disk(path, serial="installed")), (state,)
    with (
        Web(folder).served() as web,
        lab.machine(
            medium, "extras", firmware=Firmware.BIOS, memory_mib=384, disks=disks
        ) as machine,
    ):
        machine.boot(TIMEOUT_S)
        assert storage(machine)[2] == "xfs"
        root = base64.b64encode((keys / "root.json").read_bytes()).decode()
        machine.succeed(f"echo {root} | base64 -d | orlop os trust -")
        text = machine.fail(f"orlop os stage {web.address}", timeout_s=TIMEOUT_S)
        assert "might not find its state" in text
        release.main([*words, "--version", "3.0", "--extras", str(new)])
        staged = machine.succeed(f"orlop os stage {web.address} --json", timeout_s=TIMEOUT_S)
        received = json.loads(staged)["received_bytes"]
        assert received == image.stat().st_size + new.stat().st_size
        machine.succeed("orlop os apply --now", timeout_s=TIMEOUT_S)
        machine.wait_for_ready(TIMEOUT_S)
        assert guest.status(machine)["build_id"] == BUILD
        assert storage(machine)[2] == "xfs"
        machine.wait_for_event("promoted", timeout_s=TIMEOUT_S)
        rows = json.loads(machine.succeed("orlop os verify --json", timeout_s=TIMEOUT_S))
        assert all(row["ok"] for row in rows)
        assert sum(row["what"].startswith("extras ") for row in rows) == 2
