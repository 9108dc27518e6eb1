"""What becomes of the services when another console or engine is chosen."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from orlop.lib.errors import Conflict, InvalidArgument, OrlopError, Unavailable
from orlop.system import consoles, engines
from orlop.wire.compose import parse_service
from orlop.wire.compose_model import ConfigDelivery
from orlop.wire.compose_values import Fields
from orlop.wire.config import kinds_consoles

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orlop.engine.images import Image
    from orlop.system.config.control import Manner
    from orlop.wire.config.kinds import Kind


def test_a_console_has_what_the_own_one_has() -> None:
    own = parse_service(
        "console",
        {"image": "console", "command": ["c"], "read_only": True, "cap_add": ["KILL"],
         "volumes": ["/var/lib/orlop/root:/root"], "pid": "host"},
    )  # fmt: skip
    made = consoles.define("debian:13", own)
    assert (made.name, made.image, made.read_only) == ("shell", "debian:13", False)
    assert made.entrypoint == ("/bin/sh",)
    assert (made.cap_add, made.pid_mode) == (own.cap_add, "host")
    assert made.mounts[:-1] == own.mounts
    assert (made.mounts[-1].target, made.mounts[-1].read_only) == (consoles.BASE, True)


def test_dockerd_is_behind_the_same_interface() -> None:
    own = parse_service(
        "engine",
        {"image": "engine", "command": ["e"], "cgroup": "host",
         "volumes": ["/var:/var:rslave", "/run/orlop/user:/run/orlop/user:rshared"],
         "x-orlop": {"config": "restart"}},
    )  # fmt: skip
    made = engines.define("docker:26", own)
    assert (made.name, made.image) == ("engine", "docker:26")
    assert made.config is ConfigDelivery.NONE
    assert made.cgroupns_mode == "host"
    words = (*(made.entrypoint or ()), *made.command)
    assert f"--host=unix://{engines.SOCKET}" in words
    assert "--cgroup-parent=/user" in words
    targets = [mount.target for mount in made.mounts]
    assert "/var" in targets
    assert "/run/orlop/user" not in targets


@pytest.mark.parametrize(
    ("entrypoint", "command", "expected"),
    [
        ((), ("/usr/sbin/dockerd",), True),
        (("dockerd",), ("--debug",), True),
        ((), ("sh", "-c", "dockerd"), False),
        ((), (), False),
    ],
)
def test_images_with_an_engine(
    entrypoint: tuple[str, ...], command: tuple[str, ...], expected: bool
) -> None:
    image = cast("Image", SimpleNamespace(entrypoint=entrypoint, command=command))
    assert engines.is_engine(image) is expected


def test_names_in_the_configuration() -> None:
    def check(kind: Kind, text: str) -> object:
        return kind.check(Fields("", {"key": text}), "key")

    assert check(kinds_consoles.CONSOLE, "debian:13") == "debian:13"
    assert check(kinds_consoles.ENGINE, "docker-19.03.11") == "docker"
    assert check(kinds_consoles.ENGINE, "orlop") == "orlop"
    with pytest.raises(InvalidArgument, match="name of an image"):
        check(kinds_consoles.CONSOLE, "No Image")


class Machine:
    """As much of a boot as `Engines` needs; *events* is what was done, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
        self.events: list[str] = []
        self.keeps_choices = True
        self.goes_down = False
        boot = cast("Any", SimpleNamespace())
        boot.machine = SimpleNamespace(
            parameters=SimpleNamespace(recovery=False, shutdown_s=1), reexecutions=0
        )
        boot.config = SimpleNamespace(current={}, change=self._change)
        boot.engine = SimpleNamespace(images=SimpleNamespace(get=lambda _: None))
        boot.power = SimpleNamespace(
            end_user_containers=self._end, refuse_while_stopping=self._refuse
        )
        boot.services = SimpleNamespace(stop=self._stop, start=self._start)
        boot.define_services = lambda: None
        monkeypatch.setattr(engines, "answers", self._answers)
        monkeypatch.setattr(engines, "SOCKET", str(directory / "socket"))
        monkeypatch.setattr(engines, "DATA", str(directory / "docker"))
        monkeypatch.setattr(engines, "SETTINGS", str(directory / "docker.json"))
        self.boot = boot
        self.engines = engines.Engines(boot)
        self.engines.chosen = engines.OWN

    async def _change(self, operation: Mapping[str, str], manner: Manner) -> None:
        if not self.keeps_choices and not manner.dry_run:
            raise Conflict("the last change waits to be confirmed")
        if not manner.dry_run:
            self.events.append(f"keep {operation['text']}")

    async def _end(self, _limit_s: float) -> None:
        self.events.append("end containers")

    def _refuse(self) -> None:
        if self.goes_down:
            raise Unavailable("the machine is going down")

    async def _stop(self, _name: str) -> None:
        self.events.append("stop")

    async def _start(self, _name: str) -> None:
        self.events.append(f"start {self.engines.chosen}")

    async def _answers(self) -> bool:
        return True


def test_an_engine_whose_choice_cannot_be_kept_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = Machine(monkeypatch, tmp_path)
    machine.keeps_choices = False
    with pytest.raises(OrlopError, match="waits to be confirmed"):
        asyncio.run(machine.engines.switch("docker:26"))
    assert machine.engines.chosen == engines.OWN
    assert machine.events[-1] == "start orlop"


def test_the_present_engine_runs_on_where_nothing_can_be_written_for_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = Machine(monkeypatch, tmp_path)
    (tmp_path / "docker").write_text("in the way")
    with pytest.raises(Unavailable, match="docker"):
        asyncio.run(machine.engines.switch("docker:26"))
    assert (machine.engines.chosen, machine.events) == (engines.OWN, [])


def test_a_configured_engine_finds_its_settings_at_the_first_boot(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = Machine(monkeypatch, tmp_path)
    asyncio.run(machine.engines.prepare())
    assert not (tmp_path / "docker.json").exists()
    machine.boot.config.current[engines.KEY] = "docker:26"
    asyncio.run(machine.engines.prepare())
    assert (tmp_path / "docker.json").read_text() == "{}\n"
    assert (tmp_path / "docker").is_dir()


def test_no_engine_is_started_while_the_machine_goes_down(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = Machine(monkeypatch, tmp_path)
    machine.goes_down = True
    with pytest.raises(Unavailable, match="going down"):
        asyncio.run(machine.engines.switch("docker:26"))
    assert not any(event.startswith(("start", "keep")) for event in machine.events)


def test_where_the_tpm_opens_the_state_nobodys_disk_brings_images(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = Machine(monkeypatch, tmp_path)
    boot = machine.boot
    own = parse_service("engine", {"image": "engine", "command": ["--preload-label=ORLOP_LOAD"]})

    def command(*, by_tpm: bool = False, sealed: bool = False, said: object = None) -> str:
        boot.cloud = SimpleNamespace(trusts_no_disk=by_tpm)
        boot.machine.parameters.state_sealed = sealed
        boot.config.current[engines.PRELOAD_DISK] = said
        found: Any = SimpleNamespace(services={"engine": own})
        machine.engines.add_to(found)
        [word] = found.services["engine"].command
        return str(word).partition("=")[0]

    assert command() == "--preload-label"
    assert command(by_tpm=True) == "--preload-refused"
    assert command(sealed=True) == "--preload-refused"
    assert command(by_tpm=True, sealed=True, said=True) == "--preload-label"
    assert command(said=False) == "--preload-refused"
