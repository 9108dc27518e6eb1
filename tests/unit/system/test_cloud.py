"""What PID 1 decides about data sources: whom to ask, what to read, what the service is told."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orlop.lib.errors import OrlopError
from orlop.system.cloud import control as cloud_control
from orlop.system.cloud import seed_disk
from orlop.system.cloud.control import ANSWER, CloudControl, read_dmi
from orlop.system.cloud.sources import make_directory
from orlop.system.config.configuration import Configuration
from orlop.system.services import definitions
from orlop.system.storage import tpm_lock
from orlop.wire.compose_model import Json

SEED = ("nocloud", "iso9660", "/dev/sr0")
OTHER = ("configdrive", "vfat", "/dev/vdb")

type Make = Callable[..., CloudControl]


class Boot:
    """The part of PID 1 that takes part."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.children = None
        self.config = SimpleNamespace(current=Configuration())
        parameters = SimpleNamespace(recovery=False, state_sealed=False)
        self.machine = SimpleNamespace(parameters=parameters, warn=self.warnings.append)
        self.services = SimpleNamespace(names=lambda: ["cloud"], definition=lambda _: None)
        self.started: list[str] = []
        self.tasks = SimpleNamespace(start=self._start)

    def _start(self, step: Any, name: str) -> None:
        step.close()
        self.started.append(name)


@pytest.fixture
def boot(monkeypatch: pytest.MonkeyPatch) -> Boot:
    monkeypatch.setattr(definitions, "owner", lambda _: (os.getuid(), os.getgid()))
    return Boot()


@pytest.fixture
def make(boot: Boot, tmp_path: Path) -> Make:
    def made(command_line: str = "quiet", **dmi: str) -> CloudControl:
        (tmp_path / "dmi").mkdir(exist_ok=True)
        for name, value in dmi.items():
            (tmp_path / "dmi" / name).write_text(f"{value}\n")
        return CloudControl(boot, command_line, str(tmp_path), str(tmp_path / "dmi"))  # type: ignore[arg-type]

    return made


def asked(control: CloudControl, boot: Boot, data: Any = None, report: Any = None) -> Any:
    boot.config.current = Configuration(data or {}, cloud=report or {})
    control.prepare()
    return control.asked


def test_a_cloud(make: Make, boot: Boot, tmp_path: Path) -> None:
    control = make(sys_vendor="Hetzner", product_serial="7", product_uuid="AB")
    assert asked(control, boot) == asked(control, boot) == ("hetzner",)
    assert (tmp_path / "cloud").is_dir()
    assert control.settings("cloud") == {
        "sources": ["hetzner"],
        "seed": {},
        "url": "",
        "serial": "7",
        "machine": "ab",
    }
    assert control.settings("time") == {}
    assert boot.started == ["data sources"]


def test_none_costs_nothing(
    make: Make, boot: Boot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = make(sys_vendor="QEMU", product_name="Standard PC")
    monkeypatch.delitem(sys.modules, "orlop.system.cloud.sources")
    assert asked(control, boot) == ()
    assert "orlop.system.cloud.sources" not in sys.modules
    assert control.sources(str(tmp_path)) == []
    assert not (tmp_path / "cloud").exists()
    assert boot.started == []


@pytest.mark.parametrize(
    ("line", "serial", "name"),
    [
        ("quiet ds=nocloud;s=http://a/", "", "nocloud-net"),
        ('"ds=nocloud-net;s=http://a/"', "", "nocloud-net"),
        ("quiet", "ds=nocloud;s=http://a/", "nocloud-net"),
        ("orlop.config.url=http://a/", "", "url"),
        ("cloud-config-url=http://a/", "", "url"),
    ],
)
def test_what_points_to_a_source(make: Make, boot: Boot, line: str, serial: str, name: str) -> None:
    assert asked(make(line, product_serial=serial), boot) == (name,)


def test_the_configuration_names_one_and_switches_off(make: Make, boot: Boot) -> None:
    named = {"orlop": {"cloud": {"datasources": ["openstack"]}}}
    assert asked(make(sys_vendor="QEMU"), boot, named) == ("openstack",)
    off: dict[str, Any] = {"orlop": {"cloud": {"datasources": []}}}
    control = make(sys_vendor="Hetzner")
    assert asked(control, boot, off) == ()
    assert asked(control, boot) == ("hetzner",)
    assert asked(control, boot, off) == ()
    assert control.settings("cloud")["sources"] == []


def test_recovery_asks_nobody(make: Make, boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    boot.machine.parameters.recovery = True
    assert asked(make(sys_vendor="Hetzner"), boot) == ()
    assert not look(make(), monkeypatch, SEED)


def test_what_is_on_a_disk_is_the_machines_own(make: Make, boot: Boot, tmp_path: Path) -> None:
    (tmp_path / "seed").mkdir()
    (tmp_path / "seed" / ANSWER).touch()
    control = make(sys_vendor="Hetzner")
    assert asked(control, boot, report={"source": "nocloud"}) == ()
    report = {"source": "nocloud", "includes": ["http://a"]}
    assert asked(control, boot, report=report) == ("seed",)
    # The service is not to be started again for what it has done.
    assert asked(control, boot, report={"source": "nocloud", "includes": []}) == ("seed",)


def test_a_disk_that_says_nothing_useful_leaves_the_others(
    make: Make, boot: Boot, tmp_path: Path
) -> None:
    (tmp_path / "seed").mkdir()
    (tmp_path / "seed" / ANSWER).touch()
    assert asked(make(sys_vendor="Hetzner"), boot) == ("hetzner",)


def test_sources_in_order(make: Make, tmp_path: Path) -> None:
    for name in ("cloud", "seed", "lib/orlop/cloud"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / ANSWER).touch()
    control = make("quiet orlop.config.inline=aG9zdG5hbWU6IGE=")
    copy = tmp_path / "lib/orlop/config/good/user-data"
    copy.parent.mkdir(parents=True)
    copy.touch()
    assert control.sources(str(tmp_path))[:2] == [
        f"cloud:{tmp_path}/cloud/{ANSWER}",
        f"good:{copy}",
    ]
    copy.unlink()
    assert control.sources(str(tmp_path)) == [
        f"cloud:{tmp_path}/cloud/{ANSWER}",
        f"cloud:{tmp_path}/seed/{ANSWER}",
        f"cached:{tmp_path}/lib/orlop/cloud/{ANSWER}",
        "inline:/proc/cmdline",
    ]


def look(
    control: CloudControl,
    monkeypatch: pytest.MonkeyPatch,
    *seeds: Any,
    answer: Any = b"{}",
    again: bool = False,
) -> bool:
    async def find() -> list[Any]:
        return [*seeds]

    async def ask(_children: object, words: list[str], _timeout_s: float) -> bytes:
        if isinstance(answer, Exception):
            raise answer
        assert words == ["seed", *SEED]
        return bytes(answer)

    monkeypatch.setattr(seed_disk, "find_seeds", find)
    monkeypatch.setattr(cloud_control, "ask", ask)

    async def work() -> bool:
        plugging: list[str] = []

        async def cold_plug() -> None:
            plugging.append("done")

        task = asyncio.ensure_future(cold_plug())
        found = await control.look(task, again=again)
        assert not found or plugging == ["done"]
        await task
        return found

    return asyncio.run(work())


def test_look(make: Make, boot: Boot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    control = make()
    assert not look(control, monkeypatch)
    assert look(control, monkeypatch, SEED, OTHER)
    assert boot.warnings == ["/dev/vdb is another seed disk, ignoring it"]
    assert (tmp_path / "seed" / ANSWER).read_bytes() == b"{}"
    assert not look(control, monkeypatch, SEED)


def test_no_disk_tells_a_machine_anything_that_takes_a_sealed_state_only(
    make: Make, boot: Boot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    boot.machine.parameters.state_sealed = True
    assert not look(make(), monkeypatch, SEED)
    assert boot.warnings == [f"the seed disk {SEED[-1]} is ignored: orlop.state.sealed"]
    assert not (tmp_path / "seed" / ANSWER).exists()


@pytest.mark.parametrize("named", [None, ["auto"], ["ec2"], ["proxmox"]])
def test_a_stick_lets_nobody_in_where_the_tpm_opens_the_state(
    make: Make,
    boot: Boot,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    named: list[Json] | None,
) -> None:
    """Unless the configuration, which is in the state, trusts it."""
    (tmp_path / "by-tpm").touch()
    monkeypatch.setattr(tpm_lock, "BY_TPM", str(tmp_path / "by-tpm"))
    control = make()
    assert not look(control, monkeypatch, SEED)
    assert boot.warnings == []
    settings: dict[str, Json] = {} if named is None else {"datasources": named}
    boot.config.current = Configuration(data={"orlop": {"cloud": settings}})
    assert look(control, monkeypatch, SEED, again=True) is (named == ["proxmox"])
    assert len(boot.warnings) == (named != ["proxmox"])
    assert (tmp_path / "seed" / ANSWER).exists() is (named == ["proxmox"])


def test_any_udf_disk_is_azures_where_that_can_be(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = ("azure", "udf", "/dev/sr0")
    monkeypatch.setattr("tests.unit.system.test_cloud.SEED", disk)
    assert not look(make(sys_vendor="QEMU"), monkeypatch, disk)
    control = make(chassis_asset_tag="7783-7084-3265-9085-8269-3286-77")
    assert look(control, monkeypatch, disk)


@pytest.mark.parametrize(
    "error", [OrlopError("status 1"), TimeoutError(), OSError(5, "I/O error")], ids=str
)
def test_a_seed_that_cannot_be_read(
    make: Make, boot: Boot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    assert look(make(), monkeypatch, SEED, answer=error)
    (problem,) = boot.warnings
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
