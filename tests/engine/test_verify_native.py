"""`orlop os verify` looks into images of services; `--repair` brings anew what is damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from orlop.cli.host.release_carry import write_archive
from tests.engine.installed_machine import IMAGE, InstalledMachine, ServiceLab
from tests.engine.test_service_updates import NEW, QUICK, SERVICES, archive, runs

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.engine]

CONFIG = QUICK.replace("orlop: {", "orlop: {update: {source: /disk/lab/repo}, ")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    (tmp_path / "disk/lab").mkdir(parents=True)
    return tmp_path / "disk"


@pytest.fixture
def lab(disk: Path) -> ServiceLab:
    found = ServiceLab(disk / "lab")
    found.services(2, base=found.service(*archive(), NEW))
    return found


def verify(machine: InstalledMachine, *, repair: bool = False, source: str = "") -> dict[str, str]:
    """The problems, by what has them; and what was repaired, as such."""
    answer = machine.do("verify", {"repair": repair, "source": source})
    rows: list[dict[str, Any]] = answer["result"]["rows"]
    assert answer["result"]["ok"] == all(row["ok"] for row in rows)
    found = {row["what"]: row["problem"] for row in rows if not row["ok"]}
    return found | {row["what"]: "repaired" for row in rows if row.get("repaired")}


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as stream:
        stream.seek(at)
        byte = stream.read(1)
        stream.seek(at)
        stream.write(bytes([byte[0] ^ 0x10]))


def files(disk: Path, pattern: str) -> list[Path]:
    return sorted((disk / "var/lib/orlop/images").glob(pattern))


def updated(machine: InstalledMachine, lab: ServiceLab) -> None:
    """It runs the service of the release."""
    machine.wait_for(runs("base"))
    for answer in (machine.stage(lab), machine.do("apply")):
        assert "result" in answer, answer


def test_every_byte_counts_and_comes_back(disk: Path, lab: ServiceLab) -> None:
    with InstalledMachine(SERVICES, disk, CONFIG) as machine:
        updated(machine, lab)
        # What the boot loader wants beside the image is not there from the beginning.
        [image] = (disk / "esp/orlop/images").glob("*.efi")
        name = f"image {image.stem}"
        assert verify(machine, repair=True) == {name: "repaired"}
        assert verify(machine) == {}
        rows = machine.ask("verify")
        assert {"what": "service base", "ok": True, "problem": None} in rows

        [layer] = files(disk, "layers/*/layer.tar")
        [index] = files(disk, "layers/*/index.erofs")
        short = layer.parent.name[:12]
        flip(index, 1100)
        assert verify(machine) == {"service base": f"the index of layer {short} is damaged"}
        assert verify(machine, repair=True) == {"service base": "repaired"}
        flip(layer, layer.stat().st_size // 2)
        flip(image, 1000)
        assert verify(machine, repair=True) == {"service base": "repaired", name: "repaired"}
        assert image.read_bytes() == IMAGE
        for blob in files(disk, "blobs/*"):
            flip(blob, 10)
        layer.unlink()
        assert verify(machine, repair=True) == {"service base": "repaired"}


def test_what_cannot_be_brought_stays_and_says_why(disk: Path, lab: ServiceLab) -> None:
    with InstalledMachine(SERVICES, disk, CONFIG) as machine:
        updated(machine, lab)
        [layer] = files(disk, "layers/*/layer.tar")
        flip(layer, 600)
        write_archive(lab.repository, disk / "lab/repo/releases.tar")
        (disk / "lab/repo").rename(disk / "lab/away")
        said = verify(machine, repair=True)["service base"]
        damaged = f"layer {layer.parent.name[:12]} is damaged"
        assert said.startswith(f"{damaged}; not repaired: release 2.0: /disk/lab/repo: ")
        assert layer.exists()
        found = verify(machine, repair=True, source="/disk/lab/away/releases.tar")
        assert found["service base"] == "repaired"
    # A layer that is too short is none to the next boot, which has the service of the system.
    with layer.open("r+b") as stream:
        stream.truncate(1000)
    (disk / "lab/away").rename(disk / "lab/repo")
    with InstalledMachine(SERVICES, disk) as machine:
        machine.wait_for(runs("base"))
        assert verify(machine, repair=True)["service base"] == "repaired"
    with InstalledMachine(SERVICES, disk) as machine:
        machine.wait_for(runs("base"))
        image_id = machine.request("GET", "/orlop/services/base")[1]["image_id"]
        assert f"sha256:{files(disk, 'images/*.json')[0].stem}" == image_id
