"""What PID 1 decides about data sources: whom to ask, what to read, what the service is told."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from orlop.lib.errors import OrlopError
from orlop.system import cloud
from orlop.system.cloud import ANSWER, Cloud, make_directory, read_dmi
from orlop.system.configuration import Configuration
from orlop.system.seed_disk import Seed

SEED = Seed("/dev/sr0", "iso9660", "nocloud")
OTHER = Seed("/dev/vdb", "vfat", "configdrive")


@pytest.fixture
def machine(tmp_path: Path) -> Cloud:
    for name, value in (("sys_vendor", "Hetzner"), ("product_serial", "7"), ("product_uuid", "AB")):
        path = tmp_path / "dmi" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{value}\n")
    return Cloud(
        dmi_directory=str(tmp_path / "dmi"),
        seed_directory=str(tmp_path / "seed"),
        directory=str(tmp_path / "cloud"),
    )


def choose(machine: Cloud, data: Any = None, report: Any = None) -> tuple[str, ...]:
    configuration = Configuration(data or {}, cloud=report or {})
    return machine.choose(configuration, (os.getuid(), os.getgid())).network


def test_a_cloud(machine: Cloud, tmp_path: Path) -> None:
    assert choose(machine) == ("hetzner",)
    assert (tmp_path / "cloud").is_dir()
    assert machine.settings() == {
        "sources": ["hetzner"],
        "seed": {},
        "url": "",
        "serial": "7",
        "machine": "ab",
    }


def test_none(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "none")
    machine = Cloud("quiet", dmi_directory=nowhere, directory=nowhere, seed_directory=nowhere)
    assert choose(machine) == ()
    assert machine.sources(nowhere) == []
    assert not Path(nowhere).exists()


def test_switched_off(machine: Cloud, tmp_path: Path) -> None:
    assert choose(machine, {"orlop": {"cloud": {"datasources": []}}}) == ()
    assert not (tmp_path / "cloud").exists()


def test_what_is_on_a_disk_is_the_machines_own(machine: Cloud, tmp_path: Path) -> None:
    (tmp_path / "seed").mkdir()
    (tmp_path / "seed" / ANSWER).touch()
    assert choose(machine, report={"source": "nocloud"}) == ()
    assert choose(machine, report={"source": "nocloud", "includes": ["http://a"]}) == ("seed",)
    # The service is not to be started again for what it has done.
    assert choose(machine, report={"source": "nocloud", "includes": []}) == ("seed",)


def test_a_disk_that_says_nothing_useful_leaves_the_others(machine: Cloud, tmp_path: Path) -> None:
    (tmp_path / "seed").mkdir()
    (tmp_path / "seed" / ANSWER).touch()
    assert choose(machine, report={}) == ("hetzner",)


def test_sources_in_order(machine: Cloud, tmp_path: Path) -> None:
    machine.command_line = "quiet orlop.config.inline=aG9zdG5hbWU6IGE="
    for name in ("cloud", "seed", "lib/orlop/cloud"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / ANSWER).touch()
    assert machine.sources(str(tmp_path)) == [
        f"cloud:{tmp_path}/cloud/{ANSWER}",
        f"cloud:{tmp_path}/seed/{ANSWER}",
        f"cached:{tmp_path}/lib/orlop/cloud/{ANSWER}",
        "inline:/proc/cmdline",
    ]


def look(machine: Cloud, monkeypatch: pytest.MonkeyPatch, *seeds: Seed, answer: Any = b"{}") -> Any:
    async def find() -> list[Seed]:
        return [*seeds]

    async def ask(_children: object, words: list[str], _timeout_s: float) -> bytes:
        if isinstance(answer, Exception):
            raise answer
        assert words[0] == "seed"
        return bytes(answer)

    monkeypatch.setattr(cloud, "find_seeds", find)
    monkeypatch.setattr(cloud, "ask", ask)
    return asyncio.run(machine.look(None))  # type: ignore[arg-type]


def test_look(machine: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert look(machine, monkeypatch) is None
    assert look(machine, monkeypatch, SEED, OTHER) == ["/dev/vdb is another seed disk, ignoring it"]
    assert (tmp_path / "seed" / ANSWER).read_bytes() == b"{}"
    assert look(machine, monkeypatch, SEED) is None


def test_a_seed_that_cannot_be_read(
    machine: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for error in (OrlopError("status 1"), TimeoutError(), OSError(5, "I/O error")):
        machine._seen.clear()
        (problem,) = look(machine, monkeypatch, SEED, answer=error)
        assert problem.startswith("the seed disk /dev/sr0 cannot be read: ")
    assert not (tmp_path / "seed" / ANSWER).exists()


def test_directory_is_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "d"
    make_directory(str(path), (os.getuid(), os.getgid()))
    (path / "file").touch()
    make_directory(str(path), (os.getuid(), os.getgid()))
    assert (path / "file").exists()


def test_firmware_that_says_anything(tmp_path: Path) -> None:
    (tmp_path / "sys_vendor").write_bytes(b"\xff" * 1000)
    assert read_dmi(str(tmp_path)).keys() == {"sys_vendor"}
