"""From the configuration to what a look for releases needs, and whom the machine trusts."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest

from orlop.engine.registry.settings import Registries
from orlop.lib.errors import InvalidArgument, Unavailable
from orlop.system.config.configuration import Configuration
from orlop.system.updates import settings as settings_module
from orlop.system.updates.fetch import Running
from orlop.system.updates.settings import identity, place, settings, trust
from orlop.wire.config.document import check_document
from orlop.wire.located_yaml import parse_yaml
from tests.unit.system.updates.release_lab import ReleaseLab, ask

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.system.boot import Boot
    from orlop.wire.compose_model import Json

RUNNING = Running(version="1.0", build="0123456789abcdef", sequence=1)


@dataclass
class Images:
    def registries(self) -> Registries:
        return Registries(insecure=("registry.example",))


@dataclass
class Config:
    current: Configuration


@dataclass
class Machine:
    """As much of `Boot` as is asked."""

    config: Config
    images: Images = field(default_factory=Images)


def machine(**update: Json) -> Boot:
    found = Machine(Config(Configuration(data={"orlop": {"update": update}})))
    return cast("Boot", found)


def test_all_keys(tmp_path: Path) -> None:
    (tmp_path / "root.json").write_text("a root")
    boot = machine(
        source="https://releases.example",
        channel="beta",
        root=str(tmp_path / "root.json"),
        wariness=100,
    )
    found = asyncio.run(settings(boot, RUNNING, directory=tmp_path))
    assert (found.source, found.channel, found.root, found.wariness) == (
        "https://releases.example",
        "beta",
        "a root",
        9999,
    )
    assert found.registries.insecure == ("registry.example",)
    other = asyncio.run(settings(boot, RUNNING, source="/x", channel="c", directory=tmp_path))
    assert (other.source, other.channel, other.identity) == ("/x", "c", found.identity)


def test_no_source(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="no source") as caught:
        asyncio.run(settings(machine(), RUNNING, directory=tmp_path))
    assert "orlop.update.source" in (caught.value.hint or "")


def test_a_root_that_cannot_be_read(tmp_path: Path) -> None:
    boot = machine(source="/x", root=str(tmp_path / "gone"))
    with pytest.raises(Unavailable, match="gone"):
        asyncio.run(settings(boot, RUNNING, directory=tmp_path))


def test_a_machine_without_a_name_keeps_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings_module, "machine_id", lambda: "")
    found = identity(tmp_path)
    assert len(found) == 36
    assert identity(tmp_path) == found
    monkeypatch.setattr(settings_module, "machine_id", lambda: "firmware")
    assert identity(tmp_path) == "firmware"


def test_places() -> None:
    assert [place(percent) for percent in (0, 0.5, 50, 100)] == [0, 50, 5000, 9999]


def test_whom_the_administrator_trusts(tmp_path: Path) -> None:
    lab = ReleaseLab(tmp_path)
    lab.release()
    answer = asyncio.run(trust(lab.state, lab.root))
    assert (answer["version"], answer["threshold"]) == (1, 2)
    boot = machine(source=str(tmp_path / "repo"))
    ask(asyncio.run(settings(boot, RUNNING, directory=lab.state)))
    with pytest.raises(InvalidArgument, match=r"root\.json: no JSON"):
        asyncio.run(trust(lab.state, b"something else"))


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("source", ("https://h/x/", "oci://h/n:t", "/mnt/usb"), ("ftp://h", "h/x", "/a/../b")),
        ("channel", ("stable", "a-b"), ("Stable", "a/b", "")),
        ("automatic", ("off", False, "apply"), ("on", True, 5)),
        ("wariness", (0, 33.3, 100), (-1, 101, "5", True)),
        ("root", ("/a/root.json",), ("{}", "root.json")),
    ],
)
def test_keys(key: str, good: tuple[Json, ...], bad: tuple[Json, ...]) -> None:
    for value in good:
        data = check_document(parse_yaml("u.yml", text(key, value))).data
        assert check_document(parse_yaml("again.yml", json.dumps(data))).data == data
    for value in bad:
        with pytest.raises(InvalidArgument, match=rf"u\.yml:1: .*{key}"):
            check_document(parse_yaml("u.yml", text(key, value)))


def text(key: str, value: Json) -> str:
    return json.dumps({"orlop": {"update": {key: value}}})
